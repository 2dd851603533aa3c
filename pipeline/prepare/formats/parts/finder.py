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
    """Files by the ends of their paths, as `keys` writes them: of each end and split the first two."""

    keys: Callable[[str], Iterable[str]]
    files: dict[tuple[str, str | None], tuple[PurePosixPath, ...]] = field(default_factory=dict)

    def fill(self, files: Iterable[PurePosixPath]) -> None:
        """Add the ends of all files."""
        for file in files:
            split = _split_of(file.parent)
            for end in (end for key in self.keys(str(file)) for end in _ends(key)):
                first = self.files.get((end, split), ())
                if len(first) < 2:
                    self.files[end, split] = (*first, file)

    def get(self, path: str) -> dict[str | None, tuple[PurePosixPath, ...]]:
        """Files that end so, by their split."""
        end = next(iter(self.keys(path)))
        return {split: files for split in (None, *SPLIT_NAMES) if (files := self.files.get((end, split)))}


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
        for is_address, path in () if file else _readings(text):
            file, guess = self._by_end(path, None if near is None else split_of(near))
            if file:
                guess = Guess.ADDRESS if is_address else guess
                break
        if file is None:
            raise ValueError(f"no image file of the dataset has this name{self._nearest(text)}. {self._remedy()}")
        if guess:
            self._counts.setdefault(guess, _Count(0, text, file)).number += 1
        self.unused.discard(file)
        return file

    def warnings(self) -> Iterator[Fault]:
        """One warning for each way of guessing, with the number of names and an example."""
        for guess, count in self._counts.items():
            names = "name was" if count.number == 1 else "names were"
            reason = f"{count.number:,} {names} found {guess.value}, such as {count.text!r} in {str(count.file)!r}"
            yield Fault(".", reason, warning=True)

    def _exact(self, text: str, near: PurePosixPath | None) -> PurePosixPath | None:
        if self.folders is None:
            bases = [*([near.parent] if near else []), PurePosixPath()]
        else:
            bases = self.folders if len(self.folders) == 1 else []
        names = dict.fromkeys((text, text.replace("\\", "/")))
        paths = (posixpath.normpath(posixpath.join(base, name)) for name in names for base in bases)
        return next((self.files[path] for path in paths if path in self.files), None)

    def _by_end(self, path: str, split: str | None) -> tuple[PurePosixPath | None, Guess | None]:
        """The file with the longest end of this path."""
        leaves = path.startswith("/") or ".." in path.split("/")
        parts = [part for part in path.split("/") if part not in {"", "."}]
        for start in range(max(0, len(parts) - self._longest), len(parts)):
            if ".." in parts[start:]:
                continue
            end, above = "/".join(parts[start:]), parts[:start]
            for guess in (None, Guess.CASE, Guess.SUFFIX):
                candidates = self._candidates(guess, end, above, split)
                if len(candidates) > 1:
                    raise ValueError(f"could be {candidates[0]} or {candidates[1]}. {self._remedy()}")
                if candidates:
                    lacks_suffix = guess is Guess.SUFFIX and PurePosixPath(end).suffix.lower() not in SUFFIXES
                    return candidates[0], Guess.END if above or leaves else None if lacks_suffix else guess
        return None, None

    def _candidates(self, guess: Guess | None, end: str, above: list[str], split: str | None) -> list[PurePosixPath]:
        """Files that end so, as far as neither the split nor the folders above the end contradict."""
        by_split = self._index(guess).get(end)
        is_told = _split_of(PurePosixPath(end).parent) is not None
        for wanted in () if is_told else {split, _split_of(PurePosixPath(*above))} - {None}:
            if self._split_folders[wanted]:
                by_split = {wanted: by_split[wanted]} if wanted in by_split else {None: by_split.get(None, ())}
        candidates = [file for files in by_split.values() for file in files]
        if above and alike(above[-1]) in self._folder_names:
            candidates = [file for file in candidates if alike(above[-1]) in map(alike, file.parts)]
        if len(candidates) > 1 and split is not None:
            inside = (self.files.get(f"{folder}/{end}") for folder in self._split_folders[split])
            named = [file for file in inside if file]
            candidates = named if len(named) == 1 else candidates
        return candidates

    def _index(self, guess: Guess | None) -> _Index:
        if guess not in self._indices:
            self._indices[guess] = _Index(KEYS[guess])
            self._indices[guess].fill(self.files.values())
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
def _split_of(folder: PurePosixPath) -> str | None:
    return split_of(folder)


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
    while PurePosixPath(stem).suffix in SUFFIXES:
        stem = stem[: stem.rindex(".")]
    return (stem,) if stem == folded else (stem + PurePosixPath(folded).suffix, stem)


KEYS: dict[Guess | None, Callable[[str], Iterable[str]]] = {
    None: _exact_key,
    Guess.CASE: _folded_key,
    Guess.SUFFIX: _suffix_keys,
}
