"""image_folder: one folder per class, as torchvision's ImageFolder reads it: `cat/1.jpg`, `dog/2.jpg`.

Class folders lie directly below the path, or below `train`, `val` and `test` (or other keys of SPLITS), which then give
the split. Classes are numbered in sorted order of their names; folders inside a class folder belong to it.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts.files import Tree, alike, ignored, scan
from pipeline.sample import Classes, Fault, Sample

#: folder names of other formats, which are no classes
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

    group: regular expression whose one capturing group, in a file's relative path, is the image's group (a person, a
    video); images of one group are never in two splits. Example: `/(\w+)_\d+\.jpg$`.
    """
    pattern = _pattern(group)
    tree = scan(path)
    depth = 1 if _has_splits(tree) else 0
    files = [name for name in tree.files if name.suffix.lower() in SUFFIXES]
    faults = tree.faults + list(_folder_faults(tree, files, depth))
    excluded = {PurePosixPath(fault.where) for fault in faults}
    files = [name for name in files if excluded.isdisjoint((name, *name.parents))]
    classes = sorted({name.parts[depth] for name in files})
    yield Classes(tuple(classes))
    yield from faults
    yield from ignored(tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES])
    for name in files:
        match = pattern.search(str(name)) if pattern else None
        if pattern and not match:
            yield Fault(str(name), f"does not match `group` ({group!r}). Rename it or change the option.")
            continue
        yield Sample(
            id=str(name),
            image=tree.root / name,
            group=match.group(1) if match else None,
            split=SPLITS[name.parts[0].lower()] if depth else None,
            source=str(name),
            label=classes.index(name.parts[depth]),
        )


def recognise(tree: Tree) -> dict[str, Any] | None:
    """No options, if most images lie in two or more folders that can be classes."""
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
        raise UserError(f"option group: {group!r} is not a regular expression ({error}). Correct it.") from error
    if pattern.groups != 1:
        raise UserError(f"option group: {group!r} has {pattern.groups} brackets. Put one pair around the group's name.")
    return pattern


def _has_splits(tree: Tree) -> bool:
    """Whether the top folders are splits; a class may be called `train`, too, if it has no subfolders."""
    top = [folder for folder in tree.folders if len(folder.parts) == 1]
    named = [folder for folder in top if folder.name.lower() in SPLITS]
    parents = {folder.parent for folder in tree.folders}
    return bool(named) and (len(named) == len(top) or any(folder in parents for folder in named))


def _folder_faults(tree: Tree, files: list[PurePosixPath], depth: int) -> Iterator[Fault]:
    """Faults of the layout; files at or below their paths are excluded."""
    if not files:
        yield Fault(".", f"holds no image ({', '.join(sorted(SUFFIXES))}). Put images into one folder per class.")
        return
    for name in files:
        if len(name.parts) < depth + 2:
            yield Fault(str(name), "an image outside any class folder. Move it into one.")
    if depth:
        yield from _split_faults(tree)
    filled = {parent for name in files for parent in name.parents}
    spellings: dict[str, str] = {}
    for folder in tree.folders:
        if len(folder.parts) != depth + 1:
            continue
        usual = spellings.setdefault(alike(folder.name), folder.name)
        if usual != folder.name:
            yield Fault(str(folder), f"the class is spelled {usual!r} in another split. Rename one of the two.")
        elif folder not in filled:
            yield Fault(str(folder), "a class folder without an image. Fill or remove it.")


def _split_faults(tree: Tree) -> Iterator[Fault]:
    by_split: dict[str, PurePosixPath] = {}
    for folder in tree.folders:
        if len(folder.parts) > 1:
            continue
        split = SPLITS.get(folder.name.lower())
        if split is None:
            yield Fault(str(folder), "beside split folders, but not a split (train, val, test). Move or remove it.")
        elif by_split.setdefault(split, folder) != folder:
            yield Fault(str(folder), f"a second folder for {split}, beside {by_split[split]}. Merge the two.")
