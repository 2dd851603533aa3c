"""Lists that give the splits, as in PASCAL VOC's ImageSets: `train.txt`, `val.txt`, …, one name per line.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 2.3. Lists of one class (`cat_train.txt`) are
ignored.
"""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from pipeline.prepare.formats.parts.files import Tree
from pipeline.prepare.formats.parts.objects import text
from pipeline.sample import Fault

Names = list[PurePosixPath]
#: in order of priority; names of trainval are train unless another list names them
LISTS = {"test": "test", "val": "val", "train": "train", "trainval": "train"}


def find_lists(tree: Tree, folder: str) -> Names:
    """The lists in folders of this name."""
    return [name for name in tree.files if name.parent.name == folder and name.stem in LISTS and name.suffix == ".txt"]


def splits(
    tree: Tree, lists: Names, stems: Collection[str], kind: str, ending: str
) -> tuple[dict[str, str], list[Fault]]:
    """The split of each listed name, and faults of the lists.

    stems: the names that may be listed · kind, ending: for messages, what a name must have, and the suffix of its file.
    """
    split_of: dict[str, str] = {}
    holders: dict[str, PurePosixPath] = {}
    faults = []
    for list_name in sorted(lists, key=lambda name: list(LISTS).index(name.stem)):
        try:
            lines = text(tree.root / list_name).splitlines()
        except ValueError as error:
            faults.append(Fault(str(list_name), f"{error}."))
            continue
        for number, line in enumerate(lines, start=1):
            # lists of one class, which some tools call train.txt, append 1, 0 or -1
            name = line.strip() if line.strip() in stems else re.sub(r"\s+-?[01]$", "", line.strip())
            if not name:
                continue
            if name not in stems:
                reason = f"{name!r} has no {kind}. Add {name}{ending} or remove the line."
                faults.append(Fault(f"{list_name}: line {number}", reason))
            elif list_name.stem == "trainval" and name in split_of:
                continue
            elif split_of.setdefault(name, LISTS[list_name.stem]) != LISTS[list_name.stem]:
                reason = f"{name!r} is in {holders[name]}, too. Remove it from one of the two."
                faults.append(Fault(f"{list_name}: line {number}", reason))
            holders.setdefault(name, list_name)
    return split_of, faults
