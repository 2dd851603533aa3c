"""What speaks against taking folders of images for classes: any two folders of pictures look like it.

Masks beside images, splits, domains, parts of one set and label files make such folders, too. `convline add` asks then.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline import images
from pipeline.prepare.formats.parts import folder_names
from pipeline.prepare.formats.parts.files import Tree, listed
from pipeline.prepare.formats.parts.layout import ENDING

Names = list[PurePosixPath]

#: suffixes of files that hold the labels of the image of their name
LABELS = (".txt", ".xml", ".json")
#: colors up to which a picture can be a mask, pictures that are opened of a folder, and pixels that are looked at
MASK_COLORS, OPENED, SAMPLED = 32, 3, 100_000
#: folders from which no pair is compared: images and masks are two, or two per split
MANY_FOLDERS = 12
#: fraction of the names that an image's folder and a masks' share
COMMON = 0.8
#: folders from which each is expected to hold two images
FEW_FOLDERS = 5


def doubt(tree: Tree, folders: Mapping[str, Names]) -> str | None:
    """A sentence on what speaks against classes, or None; `folders` are the images of each that could be one."""
    names = sorted(folders)
    checks = (
        _by_name(names),
        _inner_splits(folders),
        _label_files(tree, folders),
        _masks(tree.root, folders),
        _single(folders),
    )
    return next((reason for check in checks for reason in check), None)


def _by_name(names: Sequence[str]) -> Iterator[str]:
    splits, roles = ([name for name in names if says(name)] for says in (folder_names.has_split, folder_names.is_role))
    if all(map(folder_names.is_part, names)):
        yield f"the folders {listed(names)} are named like days or parts of one dataset, not like classes."
    elif len(splits) > 1 and 2 * len(splits) >= len(names):
        remedy = "Arrange splits of classes as train/cat/1.jpg, and images with masks as images/1.jpg and masks/1.png."
        yield f"the folders {listed(splits)} are named like splits or parts of one dataset, not like classes. {remedy}"
    elif len(roles) > 1:
        remedy = "Masks are read by --format mask_png, whose options `images`, `masks` and `classes` say what is where."
        yield f"the folders {listed(roles)} are named like images and their annotations, not like classes. {remedy}"


def _inner_splits(folders: Mapping[str, Names]) -> Iterator[str]:
    """Folders that are datasets of their own: they hold splits."""
    splits = {
        folder: {
            part
            for name in names
            for part in name.parts[name.parts.index(folder) + 1 : -1]
            if part.lower() in folder_names.SPLITS
        }
        for folder, names in folders.items()
    }
    whole = sorted(folder for folder, inner in splits.items() if len(inner) > 1)
    if 2 * sum(len(folders[folder]) for folder in whole) > sum(map(len, folders.values())):
        yield (
            f"the folders {listed(whole)} hold splits ({listed(sorted(splits[whole[0]]))}). "
            "If they are datasets, add one of them; if they are classes, put the splits above: train/cat/1.jpg."
        )


def _label_files(tree: Tree, folders: Mapping[str, Names]) -> Iterator[str]:
    by_stem = {name.stem: name for name in tree.files if name.suffix.lower() in LABELS}
    pictures = [name for names in folders.values() for name in names]
    labelled = [name for name in pictures if name.stem in by_stem]
    if 2 * len(labelled) > len(pictures):
        pair = f"{labelled[0]} and {by_stem[labelled[0].stem]}"
        yield f"{len(labelled):,} images have a file of their name that may hold their labels, such as {pair}."


def _masks(root: Path, folders: Mapping[str, Names]) -> Iterator[str]:
    """Folders whose pictures have the names of another's, and few colors, where those of the other have many."""
    if len(folders) > MANY_FOLDERS:
        return
    stems = {folder: {ENDING.sub("", name.stem) for name in names} for folder, names in folders.items()}
    for pair in combinations(sorted(folders), 2):
        common = stems[pair[0]] & stems[pair[1]]
        if len(common) < COMMON * min(len(stems[folder]) for folder in pair):
            continue
        plain = [folder for folder in pair if all(_like_masks(root, folders[folder]))]
        if len(plain) == 1:
            other = pair[pair.index(plain[0]) - 1]
            remedy = (
                f"Masks are read by --format mask_png, with --option 'images: {other}' --option 'masks: {plain[0]}'."
            )
            yield f"the pictures in {plain[0]} have the names of those in {other}, and few colors. {remedy}"


def _like_masks(root: Path, names: Names) -> Iterator[bool]:
    for name in (names[index] for index in images.spread(len(names), OPENED)):
        try:
            pixels = images.decode(root / name).reshape(-1, 3).astype(np.int32)
        except images.ImageError:  # a fault when it is read
            continue
        sampled = pixels[:: max(1, len(pixels) // SAMPLED)]
        yield len(np.unique(sampled @ np.array([1 << 16, 1 << 8, 1]))) <= MASK_COLORS


def _single(folders: Mapping[str, Names]) -> Iterator[str]:
    count = sum(map(len, folders.values()))
    if len(folders) >= FEW_FOLDERS and count < 2 * len(folders):
        yield f"{len(folders):,} folders hold {count:,} images: classes have several images each."
