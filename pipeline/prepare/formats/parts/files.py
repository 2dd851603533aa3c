"""What lies under a dataset's folder: one walk that follows no trap, for every format made of files.

The names are relative to the folder, with `/`, and sorted, so that every machine reads the same order.
Hostile or ambiguous entries become faults: links that leave the folder, pipes, names that other file systems merge,
that a terminal would obey or that are no UTF-8.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.sample import Fault
from pipeline.store import file_digest
from pipeline.terminal import name_fault

EXAMPLES = 3
#: folders within each other: data sets have five, and a walk of a thousand ends in Python's own bound
MAX_DEPTH = 50


@dataclass(slots=True)
class Tree:
    """The usable files and folders below `root`, and what is wrong with the others."""

    root: Path
    files: list[PurePosixPath] = field(default_factory=list)
    folders: list[PurePosixPath] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def checked(path: Path | None) -> Path:
    """The folder or file that a dataset's `path` names; UserError where it is missing."""
    if path is None:
        raise UserError("this format reads files: set the dataset's `path`, as in `path: data/raw/mine`.")
    if not path.exists():
        raise UserError(f"{path}: no such folder. Put the raw files there and `dvc add` it, or `dvc pull` it.")
    return path.resolve()


def contents(path: Path) -> dict[str, str]:
    """sha256 of every file below `path`, by name; links and special files count as what they are."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: can't be listed ({error.strerror}). Check its permissions.") from error

    if path.is_file():
        return {".": file_digest(path)}
    found = {}
    for folder, folders, names in os.walk(path, onerror=refuse):
        _check_depth(path, Path(folder).relative_to(path))
        for name in folders + names:
            entry = Path(folder, name)
            key = _text(entry.relative_to(path))
            if entry.is_symlink():
                found[key] = f"link to {_text(entry.readlink())}"
            elif entry.is_file():
                found[key] = file_digest(entry)
            else:
                found[key] = "folder" if entry.is_dir() else "special"
    return found


def _text(name: PurePath) -> str:
    """A name as JSON can hold it: no file's name has a NUL, so no two become one."""
    text = name.as_posix()
    return f"\0{text!a}" if re.search("[\ud800-\udfff]", text) else text


def _check_depth(root: Path, folder: PurePath) -> None:
    if len(folder.parts) > MAX_DEPTH:
        top = root / folder.parts[0]
        raise UserError(f"{top}: folders lie more than {MAX_DEPTH} deep in it. Move them up or remove them.")


def scan(path: Path | None) -> Tree:
    """Walk a dataset's folder; UserError where it is missing or no folder."""
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
        tree.faults.append(Fault(str(folder), f"can't be listed ({error.strerror}). Check its permissions."))
        return
    taken: dict[str, str] = {}
    for entry in entries:
        place = folder / entry.name
        if entry.name.startswith("."):
            tree.hidden.append(str(place))
            continue
        twin = taken.setdefault(alike(entry.name), entry.name)
        reason = _twins(twin) if twin != entry.name else _misnamed(entry.name) or _trap(tree.root, entry)
        if reason:
            tree.faults.append(Fault(str(place), reason))
        elif entry.is_dir():
            tree.folders.append(place)
            _visit(tree, place)
        else:
            tree.files.append(place)


def alike(name: str) -> str:
    """A key that is equal for names which some file systems take for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _twins(other: str) -> str:
    return f"equals {other!r} but for case or the encoding of accents, so other systems merge them. Rename one."


def _misnamed(name: str) -> str | None:
    why = name_fault(name)
    return why and f"{why}. Rename it."


def _trap(root: Path, entry: os.DirEntry[str]) -> str | None:
    """Why an entry can't be used, or None."""
    if entry.is_symlink():
        return _link_trap(root, Path(entry.path))
    if entry.is_dir():
        if Path(entry.name).suffix.lower() in SUFFIXES:
            return "a folder with the name of an image. Rename or remove it."
    elif not entry.is_file():
        return "not a regular file (a pipe, socket or device). Remove it."
    return None


def _link_trap(root: Path, link: Path) -> str | None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return "a link that leads nowhere or in a circle. Restore its target or remove it."
    if not target.is_relative_to(root):
        return (
            "a link to outside the dataset's folder. Copy the file there "
            "(links of DVC's own cache: `dvc config cache.type copy`, then `dvc checkout --relink`)."
        )
    if not target.is_file():
        return "a link to something other than a file. Copy what it stands for, or remove it."
    return None


def ignored(tree: Tree, strangers: list[PurePosixPath]) -> Iterator[Fault]:
    """A warning for hidden entries and one for files that the format does not read, each with a count."""
    for names, what in ((tree.hidden, "hidden files or folders"), ([str(name) for name in strangers], "other files")):
        if names:
            shown = ", ".join(names[:EXAMPLES]) + (", …" if len(names) > EXAMPLES else "")
            yield Fault(".", f"{len(names)} {what} ignored: {shown}", warning=True)
