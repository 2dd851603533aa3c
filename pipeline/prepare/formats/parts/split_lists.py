"""Lists that give the splits, as in PASCAL VOC's ImageSets: `train.txt`, `val.txt`, …, one name per line.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 2.3. Lists of one class (`cat_train.txt`) are
ignored. Names may have a suffix and folders, as tools of other projects write them, and a second column.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts.files import Tree
from pipeline.prepare.formats.parts.objects import text
from pipeline.sample import Fault

Names = list[PurePosixPath]
#: in order of priority; names of trainval are train unless another list names them
LISTS = {
    "test": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "train": "train",
    "training": "train",
    "trainval": "train",
}
#: suffixes that a listed name may have
LISTED_SUFFIXES = SUFFIXES | {".xml"}


def find_lists(tree: Tree, folder: str) -> Names:
    """The lists in folders of this name."""
    return [
        name
        for name in tree.files
        if name.parent.name == folder and name.stem.lower() in LISTS and name.suffix.lower() == ".txt"
    ]


def splits(
    tree: Tree, lists: Names, stems: Collection[str], kind: str, ending: str
) -> tuple[dict[str, str], list[Fault]]:
    """The split of each listed name, and faults of the lists.

    stems: the names that may be listed · kind, ending: for messages, what a name must have, and the suffix of its file.
    """
    split_of: dict[str, str] = {}
    holders: dict[str, PurePosixPath] = {}
    faults = []
    for list_name in sorted(lists, key=lambda name: list(LISTS).index(name.stem.lower())):
        try:
            lines = text(tree.root / list_name).splitlines()
        except ValueError as error:
            faults.append(Fault(str(list_name), f"{error}."))
            continue
        key = list_name.stem.lower()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            readings = list(_readings(line.strip()))
            stem = next((reading for reading in readings if reading in stems), None)
            if stem is None:
                reason = f"{readings[-1]!r} has no {kind}. Add {readings[-1]}{ending} or remove the line."
                faults.append(Fault(f"{list_name}: line {number}", reason))
                continue
            if key == "trainval" and stem in split_of:
                continue
            if split_of.setdefault(stem, LISTS[key]) != LISTS[key]:
                reason = f"{stem!r} is in {holders[stem]}, too. Remove it from one of the two."
                faults.append(Fault(f"{list_name}: line {number}", reason))
            holders.setdefault(stem, list_name)
    return split_of, faults


def _readings(line: str) -> Iterator[str]:
    """The names that a line can mean, the likeliest first."""
    yield line
    # lists of one class, which some tools call train.txt, append 1, 0 or -1
    name = re.sub(r"\s+-?[01]$", "", line)
    yield name
    yield _stem(name.split()[0])  # of an image and its mask in two columns
    yield _stem(name)


def _stem(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in LISTED_SUFFIXES else path.name
