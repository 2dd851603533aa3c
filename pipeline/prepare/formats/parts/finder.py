"""Finds the image file that an annotation names, however its tool wrote the name.

Names come from other machines: with backslashes, as absolute paths, as addresses, in another case, without a suffix.
An exact name always wins. What was guessed is counted, so that the format can say so; where two files could be meant,
or where what the name says contradicts the folder, nothing is guessed.
"""

import difflib
import functools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import unquote

from pipeline.images import SUFFIXES
from pipeline.prepare.formats.image_folder import SPLITS
from pipeline.prepare.formats.parts.files import Tree, alike
from pipeline.prepare.formats.parts.objects import split_of
from pipeline.sample import SPLITS as SPLIT_NAMES
from pipeline.sample import Fault

#: failures whose message names the nearest file: each search takes a look at all names
HINTS = 3
#: how alike two names must be to be the nearest, from 0 to 1
NEAREST = 0.6
#: folders that a message names
SHOWN = 5
#: what follows `?d=` is a path in addresses of Label Studio's local files
LOCAL_FILES = re.compile(r"^.*\?d=", re.DOTALL)
ADDRESS = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://([^?#]*)")


class Guess(Enum):
    """How a file was found that has not exactly the name that was asked for."""

    END = "by their ends"
    ADDRESS = "by reading them as addresses"
    CASE = "in another case or encoding of accents"
    SUFFIX = "with a suffix more or less"


@dataclass(slots=True)
class _Count:
    """The number of names that were guessed alike, and the first of them with its file."""

    number: int
    text: str
    file: PurePosixPath


@dataclass(slots=True)
class _Index:
    """Files by the ends of their paths, as `keys` writes them: of each end and split the first two, with the split."""

    keys: Callable[[str], Iterable[str]]
    files: dict[str, tuple[tuple[str | None, PurePosixPath], ...]] = field(default_factory=dict)

    def fill(self, files: dict[str, PurePosixPath]) -> None:
        """Add the ends of all files."""
        for name, file in files.items():
            split = _split_of(name.rpartition("/")[0])
            for end in (end for key in self.keys(name) for end in _ends(key)):
                first = self.files.get(end, ())
                if sum(other == split for other, _ in first) < 2:
                    self.files[end] = (*first, (split, file))

    def get(self, path: str) -> tuple[tuple[str | None, PurePosixPath], ...]:
        """Files that end so, with their splits."""
        return self.files.get(next(iter(self.keys(path))), ())


class Finder:
    """Finds image files by the names that annotations give.

    Args:
        tree: the files of the dataset.
        folder: to which names are relative, or a pattern of folders (`*/images`); only files in these are found.
            None: names are relative to the annotation file, to the dataset, or to any folder where only one fits.
        option: the format's option that sets `folder`, for messages.

    Raises:
        ValueError: if there is no such folder.
    """

    def __init__(self, tree: Tree, folder: PurePosixPath | None, option: str | None = None) -> None:
        pictures = [name for name in tree.files if name.suffix.lower() in SUFFIXES]
        self.folders = None if folder is None else _folders(tree, folder, pictures)
        inside = pictures if self.folders is None else [name for name in pictures if _is_inside(name, self.folders)]
        self.option = option
        self.files = {str(name): name for name in sorted(inside)}
        #: images that no one asked for
        self.unused = set(pictures)
        self._folder_names = {alike(folder.name) for folder in tree.folders}
        self._split_folders = _split_folders({name.parent for name in inside})
        self._longest = max((len(name.parts) for name in inside), default=0)
        self._indices: dict[Guess | None, _Index] = {}
        self._counts: dict[Guess, _Count] = {}
        self._hints = 0

    def find(self, text: str, near: PurePosixPath | None = None) -> PurePosixPath:
        """The image file that is named so.

        Args:
            text: the name as the annotation gives it.
            near: the annotation file; its folder and the split in its name decide between files of equal names.

        Raises:
            ValueError: with the reason and a remedy, if no file or several could be meant. `text` is not in it, so that
                equal reasons are told once.
        """
        file, guess = self._exact(text, near), None
        if file is None:
            file, guess = self._guess(text, None if near is None else _split_of(str(near)))
        if file is None:
            raise ValueError(f"names no image file of the dataset{self._nearest(text)}. {self._remedy()}")
        if guess:
            self._counts.setdefault(guess, _Count(0, text, file)).number += 1
        self.unused.discard(file)
        return file

    def warnings(self) -> Iterator[Fault]:
        """One warning for each way of guessing, with the number of names and an example."""
        for guess, count in self._counts.items():
            names = "name was" if count.number == 1 else "names were"
            reason = f"{count.number:,} {names} found {guess.value}, such as {count.text!r} as {str(count.file)!r}"
            yield Fault(".", reason, warning=True)

    def _exact(self, text: str, near: PurePosixPath | None) -> PurePosixPath | None:
        if self.folders is None:
            bases = [str(near).rpartition("/")[0], ""] if near else [""]
        else:
            bases = [str(folder) for folder in self.folders] if len(self.folders) == 1 else []
        for name in dict.fromkeys((text, text.replace("\\", "/"))):
            for base in bases:
                if file := self.files.get(posixpath.normpath(posixpath.join(base, name))):
                    return file
        return None

    def _guess(self, text: str, split: str | None) -> tuple[PurePosixPath | None, Guess | None]:
        """The file that a name can mean, read as an address or as a path."""
        for is_address, path in _readings(text):
            file, guess = self._by_end(path, split)
            if file:
                return file, Guess.ADDRESS if is_address else guess
        return None, None

    def _by_end(self, path: str, split: str | None) -> tuple[PurePosixPath | None, Guess | None]:
        """The file with the longest end of this path."""
        leaves = path.startswith("/") or ".." in path.split("/")
        parts = [part for part in path.split("/") if part not in {"", "."}]
        for start in range(max(0, len(parts) - self._longest), len(parts)):
            if ".." in parts[start:]:
                continue
            end, above = "/".join(parts[start:]), parts[:start]
            for guess in (None, Guess.CASE, Guess.SUFFIX):
                listed = self._index(guess).get(end)
                candidates = self._suitable(listed, end, above, split) if listed else []
                if len(candidates) > 1:
                    raise ValueError(f"could be {candidates[0]} or {candidates[1]}. {self._remedy()}")
                if candidates:
                    lacks_suffix = guess is Guess.SUFFIX and _suffix(end.lower()) not in SUFFIXES
                    return candidates[0], Guess.END if above or leaves else None if lacks_suffix else guess
        return None, None

    def _suitable(
        self, listed: tuple[tuple[str | None, PurePosixPath], ...], end: str, above: list[str], split: str | None
    ) -> list[PurePosixPath]:
        """The files that neither the split nor the folders above the end contradict."""
        wanted = {split, _split_of("/".join(above))} - {None}
        if _split_of(end.rpartition("/")[0]) is None:
            for name in wanted:
                if name is not None and self._split_folders[name]:
                    of_split = name if any(other == name for other, _ in listed) else None
                    listed = tuple(pair for pair in listed if pair[0] == of_split)
        files = [file for _, file in listed]
        if above and alike(above[-1]) in self._folder_names:
            files = [file for file in files if alike(above[-1]) in map(alike, file.parts)]
        if len(files) > 1 and split is not None:
            inside = (self.files.get(f"{folder}/{end}") for folder in self._split_folders[split])
            named = [file for file in inside if file]
            files = named if len(named) == 1 else files
        return files

    def _index(self, guess: Guess | None) -> _Index:
        if guess not in self._indices:
            self._indices[guess] = _Index(KEYS[guess])
            self._indices[guess].fill(self.files)
        return self._indices[guess]

    def _nearest(self, text: str) -> str:
        self._hints += 1
        if self._hints > HINTS:
            return ""
        files = {file.name: file for file in self.files.values()}
        nearest = difflib.get_close_matches(re.split(r"[\\/]", text)[-1], files, 1, NEAREST)
        return f"; the nearest is {files[nearest[0]]}" if nearest else ""

    def _remedy(self) -> str:
        option = f", or name their folder by the option `{self.option}`" if self.option else ""
        return f"Add the file or correct the name{option}"


@functools.lru_cache(100_000)
def _split_of(path: str) -> str | None:
    return split_of(PurePosixPath(path))


def _suffix(path: str) -> str:
    """The last suffix of a path, as pathlib's, which takes ten times as long."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:] if dot > 0 else ""


def _folders(tree: Tree, folder: PurePosixPath, pictures: list[PurePosixPath]) -> list[PurePosixPath]:
    """The folder, or those that match it as a pattern."""
    if folder == PurePosixPath() or folder in tree.folders:
        return [folder]
    matching = [name for name in tree.folders if fnmatchcase(str(name), str(folder))]
    if not matching:
        there = sorted({str(name.parent) for name in pictures})
        more = ", …" if len(there) > SHOWN else ""
        listed = f"images are in {', '.join(there[:SHOWN])}{more}" if there else "no folder has images"
        raise ValueError(f"{str(folder)!r} is no folder of the dataset; {listed}. Correct it")
    return matching


def _split_folders(folders: Iterable[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """Folders that are named as a split: `train`, `images/train2017`."""
    named: dict[str, list[PurePosixPath]] = {split: [] for split in SPLIT_NAMES}
    for folder in sorted(folders):
        if split := SPLITS.get(re.sub(r"[^a-z]", "", folder.name.lower())):
            named[split].append(folder)
    return named


def _is_inside(name: PurePosixPath, folders: list[PurePosixPath]) -> bool:
    return not set(folders).isdisjoint(name.parents)


def _ends(path: str) -> Iterator[str]:
    """`a/b/c`, `b/c`, `c`."""
    while path:
        yield path
        path = path.partition("/")[2]


def _readings(text: str) -> Iterator[tuple[bool, str]]:
    """Paths that a name can mean, with whether it was read as an address."""
    address = LOCAL_FILES.sub("", text)
    match = ADDRESS.match(address)
    address = unquote(match[1] if match else address).replace("\\", "/")
    path = text.replace("\\", "/")
    if address != path:
        yield True, address
    yield False, path


def _exact_key(path: str) -> tuple[str]:
    return (path,)


def _folded_key(path: str) -> tuple[str]:
    return (alike(path),)


def _suffix_keys(path: str) -> tuple[str, ...]:
    """The path with one of its image suffixes, however many it has, and without any."""
    stem = folded = alike(path)
    while (suffix := _suffix(stem)) in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return (stem,) if stem == folded else (stem + _suffix(folded), stem)


KEYS: dict[Guess | None, Callable[[str], Iterable[str]]] = {
    None: _exact_key,
    Guess.CASE: _folded_key,
    Guess.SUFFIX: _suffix_keys,
}
