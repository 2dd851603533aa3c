"""image_folder: one folder per class, as torchvision's ImageFolder reads it: `cat/1.jpg`, `dog/2.jpg`.

Class folders lie directly below the path, or below `train`, `val` and `test` (or other keys of SPLITS), which then give
the split; `training_set` and `test_set` do, too, if they hold the same classes. Classes are numbered in sorted order of
their names; folders inside a class folder belong to it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts import class_folders
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import Tree, alike, ignored, listed, scan
from pipeline.prepare.formats.parts.folder_names import SPLITS as SPLITS
from pipeline.prepare.formats.parts.folder_names import split_of
from pipeline.sample import Classes, Fault, Sample

#: folder names of other formats, which are no classes
ROLES = frozenset({"annotations", "images", "img", "imgs", "jpegimages", "labels", "masks"})
TOP = PurePosixPath()
Names = list[PurePosixPath]


@dataclass(frozen=True, slots=True)
class _Layout:
    """splits: the folders of the splits, below which class folders lie, or {} · lone: `train` beside other folders."""

    splits: dict[PurePosixPath, str]
    lone: bool = False

    def base(self, name: PurePosixPath) -> PurePosixPath | None:
        """The folder below which the class folder of a file lies; None outside the splits."""
        return next((parent for parent in name.parents if parent in self.splits), None) if self.splits else TOP

    def class_folder(self, name: PurePosixPath) -> PurePosixPath | None:
        """The class folder of a file; None outside any."""
        base = self.base(name)
        rest = name.parts if base is None else name.relative_to(base).parts
        return None if base is None or len(rest) < 2 else base / rest[0]


def read(
    path: Path | None, *, group: str | None = None, splits: bool | None = None
) -> Iterator[Classes | Sample | Fault]:
    r"""Samples of a folder of class folders.

    group: regular expression whose one capturing group, in a file's relative path, is the image's group (a person, a
    video); images of one group are never in two splits. Example: `/(\w+)_\d+\.jpg$` · splits: whether the top folders
    are splits (true) or classes (false), where their names alone don't tell: a class may be called train.
    """
    pattern = _pattern(group)
    if splits not in (None, True, False):
        raise UserError(f"option splits: {splits!r} is neither true nor false. Correct it.")
    tree = scan(path)
    files = _images(tree)
    layout = _layout(tree, files, splits)
    faults = tree.faults + list(_folder_faults(tree, files, layout))
    excluded = {PurePosixPath(fault.where) for fault in faults}
    files = [name for name in files if excluded.isdisjoint((name, *name.parents))]
    holders = {name: folder.name for name in files if (folder := layout.class_folder(name)) is not None}
    classes = sorted(set(holders.values()))
    yield Classes(tuple(classes))
    yield from faults
    yield from ignored(tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES])
    for name, holder in holders.items():
        match = pattern.search(str(name)) if pattern else None
        if pattern and not match:
            yield Fault(str(name), f"does not match `group` ({group!r}). Rename it or change the option.")
            continue
        yield Sample(
            id=str(name),
            image=tree.root / name,
            group=match.group(1) if match else None,
            split=layout.splits.get(layout.base(name) or TOP),
            source=str(name),
            label=classes.index(holder),
        )


def recognise(tree: Tree) -> dict[str, Any] | Doubt | None:
    """No options, if most images lie in two or more folders that can be classes; a Doubt if that is not certain."""
    files = _images(tree)
    layout = _layout(tree, files, None)
    folders: dict[str, Names] = {}
    for name in files:
        if (folder := layout.class_folder(name)) is not None:
            folders.setdefault(folder.name, []).append(name)
    if layout.lone:
        return Doubt(f"{_ambiguous(tree, files)} Give it by --format image_folder --option 'splits: false'.")
    inside = sum(map(len, folders.values()))
    if len(folders) < 2 or ROLES & {name.casefold() for name in folders} or 2 * inside <= len(files):
        return None
    reason = class_folders.doubt(tree, folders)
    return {} if reason is None else Doubt(reason)


def _images(tree: Tree) -> Names:
    return [name for name in tree.files if name.suffix.lower() in SUFFIXES]


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


def _layout(tree: Tree, files: Names, wanted: bool | None) -> _Layout:
    """Whether the top folders are splits: by exact names first, then by names such as `training_set`."""
    top = [folder for folder in tree.folders if len(folder.parts) == 1]
    named = {folder: SPLITS[folder.name.lower()] for folder in top if folder.name.lower() in SPLITS}
    parents = {folder.parent for folder in tree.folders}
    if wanted is False:
        return _Layout({})
    if not named:
        similar = {folder: split for folder in top if (split := split_of(folder.name)) is not None}
        if wanted and not similar:
            raise UserError(
                "option splits: no folder is named like a split (train, val, test). Rename it, or write false."
            )
        return _Layout(_inner(tree, similar) if wanted or _same_classes(tree, files, similar) else {})
    if not (wanted or len(named) == len(top) or any(folder in parents for folder in named)):
        return _Layout({})  # a class may be called train, if it has no subfolders
    others = _filled(files, top) - set(named)
    lone = wanted is None and len(named) == 1 and bool(others)
    if lone and len(others) > 1:
        (folder,) = named
        subfolders = [{inner.name for inner in tree.folders if inner.parent == each} for each in (folder, *others)]
        if set.intersection(*subfolders):
            return _Layout({})  # bus/own, car/own, train/own: a source or camera of each class
    return _Layout(_inner(tree, named), lone)


def _filled(files: Names, top: Names) -> set[PurePosixPath]:
    """The top folders that hold images."""
    return set(top) & {PurePosixPath(name.parts[0]) for name in files}


def _inner(tree: Tree, splits: dict[PurePosixPath, str]) -> dict[PurePosixPath, str]:
    """The split folders, or, as `seg_train/seg_train`, the only folder in one that has its name."""
    contents = {folder: [name for name in (*tree.folders, *tree.files) if name.parent == folder] for folder in splits}
    return {
        folder / folder.name if contents[folder] == [folder / folder.name] else folder: split
        for folder, split in splits.items()
    }


def _same_classes(tree: Tree, files: Names, splits: dict[PurePosixPath, str]) -> bool:
    """Whether folders are splits beyond doubt: each of another one, and train holds all their classes."""
    layout = _Layout(_inner(tree, splits))
    classes: dict[str, set[str]] = {split: set() for split in splits.values()}
    for name in files:
        if layout.splits and (folder := layout.class_folder(name)) is not None:
            classes[layout.splits[folder.parent]].add(folder.name)
    distinct = len(classes) == len(splits) > 1 and "train" in classes
    return distinct and all(names and names <= classes["train"] for names in classes.values())


def _ambiguous(tree: Tree, files: Names) -> str:
    top = sorted(_filled(files, [folder for folder in tree.folders if len(folder.parts) == 1]))
    return (
        f"the folders {listed(top)} are either classes, or one of them is a split and the others are not read. "
        "Say which by the option `splits`: false if they are classes, true if one is a split."
    )


def _folder_faults(tree: Tree, files: Names, layout: _Layout) -> Iterator[Fault]:
    """Faults of the layout; files at or below their paths are excluded."""
    if not files:
        yield Fault(".", f"holds no image ({', '.join(sorted(SUFFIXES))}). Put images into one folder per class.")
        return
    if layout.lone:
        yield Fault(".", _ambiguous(tree, files), blocks=True)
        return
    for name in files:
        if layout.class_folder(name) is None and (layout.base(name) is not None or len(name.parts) == 1):
            yield Fault(str(name), "an image outside any class folder. Move it into one.")
    if layout.splits:
        yield from _split_faults(tree, layout)
    filled = {parent for name in files for parent in name.parents}
    spellings: dict[str, str] = {}
    for folder in tree.folders:
        if folder.parent not in (layout.splits or {TOP}):
            continue
        usual = spellings.setdefault(alike(folder.name), folder.name)
        if usual != folder.name:
            reason = f"the class is spelled {usual!r} in another split. Rename one of the two."
            yield Fault(str(folder), reason, blocks=True)
        elif folder not in filled:
            yield Fault(str(folder), "a class folder without an image. Fill or remove it.")


def _split_faults(tree: Tree, layout: _Layout) -> Iterator[Fault]:
    """Faults of the top folders, beside the splits or for one that another is for."""
    by_split: dict[str, PurePosixPath] = {}
    used = {PurePosixPath(folder.parts[0]): split for folder, split in layout.splits.items()}
    for folder in tree.folders:
        if len(folder.parts) > 1:
            continue
        split = used.get(folder)
        if split is None:
            yield Fault(str(folder), "beside split folders, but not a split (train, val, test). Move or remove it.")
        elif by_split.setdefault(split, folder) != folder:
            yield Fault(str(folder), f"a second folder for {split}, beside {by_split[split]}. Merge the two.")
