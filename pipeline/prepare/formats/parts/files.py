"""The files of a dataset's folder: one safe walk for every format that reads files.

Names are relative to the folder, with `/`, and sorted, so that every machine reads them in the same order.
Unsafe or ambiguous entries become faults: links that leave the folder, pipes, names that other file systems merge, that
contain control characters, or that are not UTF-8.
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from pipeline import images
from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.sample import Fault
from pipeline.store import file_digest
from pipeline.terminal import name_fault

EXAMPLES = 3
#: suffixes of files that are not asked whether they are images: a dataset can have as many as it has images
TEXTS = frozenset({".csv", ".json", ".md", ".txt", ".xml", ".yaml", ".yml"})
#: suffixes of cameras' raw files, most of which begin like TIFF
CAMERA_RAW = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})
#: depth of nested folders: datasets have five, and Python's recursion limit is 1,000
MAX_DEPTH = 50


@dataclass(slots=True)
class Tree:
    """The usable files and folders below `root`, hidden ones, and the faults of the others."""

    root: Path
    files: list[PurePosixPath] = field(default_factory=list)
    folders: list[PurePosixPath] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def checked(path: Path | None) -> Path:
    """The folder or file that a dataset's `path` names; UserError if it is missing."""
    if path is None:
        raise UserError("this format reads files. Set the dataset's `path`, as in `path: data/raw/mine`.")
    if not path.exists():
        raise UserError(f"{path}: no such folder. Put the raw files there and `dvc add` it, or `dvc pull` it.")
    return path.resolve()


def contents(path: Path) -> dict[str, str]:
    """sha256 of every file below `path`, by name; links, folders and special files are named as such."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: can't be listed ({error.strerror}). Check its permissions.") from error

    if path.is_file():
        return {".": file_digest(path)}
    digests = {}
    for folder, folders, names in os.walk(path, onerror=refuse):
        _check_depth(path, Path(folder).relative_to(path))
        for name in folders + names:
            entry = Path(folder, name)
            key = _text(entry.relative_to(path))
            if entry.is_symlink():
                digests[key] = f"link to {_text(entry.readlink())}"
            elif entry.is_file():
                digests[key] = file_digest(entry)
            else:
                digests[key] = "folder" if entry.is_dir() else "special"
    return digests


def _text(name: PurePath) -> str:
    """A name as valid JSON text; names that are not UTF-8 are escaped after a NUL, which no file name has."""
    text = name.as_posix()
    return f"\0{text!a}" if re.search("[\ud800-\udfff]", text) else text


def _check_depth(root: Path, folder: PurePath) -> None:
    if len(folder.parts) > MAX_DEPTH:
        top = root / folder.parts[0]
        raise UserError(f"{top}: folders lie more than {MAX_DEPTH} deep in it. Move them up or remove them.")


def scan(path: Path | None) -> Tree:
    """Walk a dataset's folder; UserError if it is missing or not a folder."""
    root = checked(path)
    if not root.is_dir():
        raise UserError(f"{path}: not a folder. Give the folder that holds the files.")
    tree = Tree(root)
    _visit(tree, PurePosixPath())
    return tree


def _visit(tree: Tree, folder: PurePosixPath) -> None:
    _check_depth(tree.root, folder)
    try:
        entries = sorted(os.scandir(tree.root / folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = f"can't be listed ({error.strerror}). Check its permissions."
        tree.faults.append(Fault(str(folder), reason, blocks=True))
        return
    spellings: dict[str, str] = {}
    for entry in entries:
        name = folder / entry.name
        if entry.name.startswith("."):
            tree.hidden.append(str(name))
            continue
        twin = spellings.setdefault(alike(entry.name), entry.name)
        misnamed = _twins(twin) if twin != entry.name else _misnamed(entry.name)
        if misnamed:  # without a folder a class or a split would be missing
            tree.faults.append(Fault(str(name), misnamed, blocks=entry.is_dir(follow_symlinks=False)))
        elif trap := _trap(tree.root, entry):
            tree.faults.append(Fault(str(name), trap))
        elif entry.is_dir():
            tree.folders.append(name)
            _visit(tree, name)
        else:
            tree.files.append(name)


def alike(name: str) -> str:
    """A key that is equal for names that some file systems do not distinguish."""
    return unicodedata.normalize("NFC", name).casefold()


def _twins(other: str) -> str:
    return f"differs from {other!r} only by case or the encoding of accents, so other systems merge them. Rename one."


def _misnamed(name: str) -> str | None:
    why = name_fault(name)
    return why and f"{why}. Rename it."


def _trap(root: Path, entry: os.DirEntry[str]) -> str | None:
    """Why an entry can't be used, or None."""
    if entry.is_symlink():
        return _link_trap(root, Path(entry.path))
    if entry.is_dir():
        if Path(entry.name).suffix.lower() in SUFFIXES:
            return "a folder with a file name of an image. Rename or remove it."
    elif not entry.is_file():
        return "not a regular file (a pipe, socket or device). Remove it."
    return None


def _link_trap(root: Path, link: Path) -> str | None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return "a broken or circular link. Restore its target or remove it."
    if not target.is_relative_to(root):
        return (
            "a link to outside the dataset's folder. Copy the file there "
            "(links of DVC's own cache: `dvc config cache.type copy`, then `dvc checkout --relink`)."
        )
    if not target.is_file():
        return "a link to something other than a file. Copy its target, or remove it."
    return None


def ignored(tree: Tree, strangers: list[PurePosixPath]) -> Iterator[Fault]:
    """Warnings with the numbers of hidden entries, of files that the format does not read, and of images among them."""
    pictures = pictures_left_out(tree, strangers)
    left_out = {name for _, names in pictures for name in names}
    others = [name for name in strangers if name not in left_out]
    for names, what in ((tree.hidden, "hidden files or folders"), (others, "other files")):
        if names:
            yield Fault(".", f"{len(names)} {what} ignored: {listed(names)}", warning=True)
    for remedy, names in pictures:
        yield Fault(".", f"{len(names)} images are left out: {listed(names)}. {remedy}", warning=True)


def listed(names: Sequence[PurePosixPath | str]) -> str:
    """The first names, for a message."""
    return ", ".join(map(str, names[:EXAMPLES])) + (", …" if len(names) > EXAMPLES else "")


def pictures_left_out(tree: Tree, strangers: Iterable[PurePosixPath]) -> list[tuple[str, list[PurePosixPath]]]:
    """Files without an image's suffix that are images by their bytes, by what can be done about them."""
    pictures: dict[str, list[PurePosixPath]] = {}
    for name in strangers:
        if (suffix := name.suffix.lower()) in SUFFIXES or suffix in TEXTS:
            continue
        if remedy := _remedy(tree.root / name):
            pictures.setdefault(remedy, []).append(name)
    return list(pictures.items())


def _remedy(path: Path) -> str | None:
    """How an image without a usual suffix can be read; None if it is no image."""
    suffix = path.suffix
    if suffix.lower() in CAMERA_RAW:
        return "They are a camera's raw files, which are not read. Develop them to JPEG or PNG."
    try:
        with path.open("rb") as file:
            kind = images.kind(file.read(images.HEAD_BYTES))
    except OSError:  # a file that the format does not need
        return None
    if kind is None:
        return None
    if kind in images.FORMATS or (kind == "HEIC" and images.READS_HEIC):
        end, usual = f"the suffix {suffix}" if suffix else "no suffix", ".jpg" if kind == "JPEG" else f".{kind.lower()}"
        return f"They are {kind} images with {end}. Rename them, so that they end in {usual}."
    remedy = images.HEIC_REMEDY if kind == "HEIC" and not images.READS_HEIC else "Convert them"
    return f"They are {kind} images, which are not read. {remedy}, as by `magick mogrify -format jpg *{suffix}`."
