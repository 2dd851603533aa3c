"""image_folder: a folder a class, as torchvision's ImageFolder reads it: `cat/1.jpg`, `dog/2.jpg`.

Class folders lie directly under the path, or under `train`, `val` and `test` (or other words of SPLITS), which
then give the split. Classes are numbered in sorted order of their names; folders inside a class folder belong to it.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts.files import Tree, alike, ignored, scan
from pipeline.sample import Classes, Fault, Sample

#: folders whose names say what lies in them, as in other formats, rather than a class
ROLES = frozenset({"annotations", "images", "img", "imgs", "jpegimages", "labels", "masks"})
SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "training": "train",
    "testing": "test",
}


def read(path: Path | None, *, group: str | None = None) -> Iterator[Classes | Sample | Fault]:
    r"""Samples of a folder of class folders.

    group: regular expression whose first bracket, found in a file's relative name, is what the image belongs
    to (a person, a video); images of one group are never in two splits. Example: `/(\w+)_\d+\.jpg$`.
    """
    pattern = _pattern(group)
    tree = scan(path)
    depth = 1 if _has_splits(tree) else 0
    files = [name for name in tree.files if name.suffix.lower() in SUFFIXES]
    faults = tree.faults + list(_folder_faults(tree, files, depth))
    barred = {PurePosixPath(fault.where) for fault in faults}
    files = [name for name in files if barred.isdisjoint((name, *name.parents))]
    classes = sorted({name.parts[depth] for name in files})
    yield Classes(tuple(classes))
    yield from faults
    yield from ignored(tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES])
    for name in files:
        found = pattern.search(str(name)) if pattern else None
        if pattern and not found:
            yield Fault(str(name), f"its name holds no group {group!r}. Rename it or change the option `group`.")
            continue
        yield Sample(
            id=str(name),
            image=tree.root / name,
            group=found.group(1) if found else None,
            split=SPLITS[name.parts[0].lower()] if depth else None,
            source=str(name),
            label=classes.index(name.parts[depth]),
        )


def recognise(tree: Tree) -> dict[str, Any] | None:
    """No options, where most images lie in one of two or more folders that can be classes."""
    depth = 1 if _has_splits(tree) else 0
    files = [name for name in tree.files if name.suffix.lower() in SUFFIXES]
    inside = [name for name in files if len(name.parts) > depth + 1]
    classes = {name.parts[depth].casefold() for name in inside}
    return {} if len(classes) > 1 and not classes & ROLES and 2 * len(inside) > len(files) else None


def _pattern(group: str | None) -> re.Pattern[str] | None:
    if group is None:
        return None
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"option group: {group!r} is no regular expression ({error}). Correct it.") from error
    if pattern.groups != 1:
        raise UserError(f"option group: {group!r} has {pattern.groups} brackets. Put one around the group's name.")
    return pattern


def _has_splits(tree: Tree) -> bool:
    """Whether the top folders are splits; a class may be called `train` too, if it holds no folder."""
    top = [folder for folder in tree.folders if len(folder.parts) == 1]
    named = [folder for folder in top if folder.name.lower() in SPLITS]
    parents = {folder.parent for folder in tree.folders}
    return bool(named) and (len(named) == len(top) or any(folder in parents for folder in named))


def _folder_faults(tree: Tree, files: list[PurePosixPath], depth: int) -> Iterator[Fault]:
    """Faults of the layout; whatever lies in or under their places is left out."""
    if not files:
        yield Fault(".", f"holds no image ({', '.join(sorted(SUFFIXES))}). Put images into a folder a class.")
        return
    for name in files:
        if len(name.parts) < depth + 2:
            yield Fault(str(name), "an image outside any class folder. Move it into one.")
    if depth:
        yield from _split_faults(tree)
    filled = {parent for name in files for parent in name.parents}
    spelled: dict[str, str] = {}
    for folder in tree.folders:
        if len(folder.parts) != depth + 1:
            continue
        usual = spelled.setdefault(alike(folder.name), folder.name)
        if usual != folder.name:
            yield Fault(str(folder), f"the class is spelled {usual!r} in another split. Rename one of the two.")
        elif folder not in filled:
            yield Fault(str(folder), "a class folder without an image. Fill or remove it.")


def _split_faults(tree: Tree) -> Iterator[Fault]:
    seen: dict[str, PurePosixPath] = {}
    for folder in tree.folders:
        if len(folder.parts) > 1:
            continue
        split = SPLITS.get(folder.name.lower())
        if split is None:
            yield Fault(str(folder), "lies beside split folders but is none (train, val, test). Move or remove it.")
        elif seen.setdefault(split, folder) != folder:
            yield Fault(str(folder), f"a second folder for {split}, beside {seen[split]}. Merge the two.")
