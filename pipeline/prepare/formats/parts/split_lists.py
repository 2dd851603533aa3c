"""Lists that give the splits, as PASCAL VOC's ImageSets has them: `train.txt`, `val.txt`, …, a name a line.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 2.3. Lists of one class (`cat_train.txt`) decide
nothing.
"""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from pipeline.prepare.formats.parts.files import Tree
from pipeline.prepare.formats.parts.objects import text
from pipeline.sample import Fault

Names = list[PurePosixPath]
#: the ones that decide first; trainval holds train and val, so it is train where they are not
LISTS = {"test": "test", "val": "val", "train": "train", "trainval": "train"}


def found_in(tree: Tree, folder: str) -> Names:
    """The lists that lie in folders of a name."""
    return [name for name in tree.files if name.parent.name == folder and name.stem in LISTS and name.suffix == ".txt"]


def splits(
    tree: Tree, lists: Names, stems: Collection[str], wanted: str, ending: str
) -> tuple[dict[str, str], list[Fault]]:
    """The split of each listed name, and faults of the lists.

    stems: the names that may be listed · wanted, ending: what one that may not has none of, and how its file would end.
    """
    found: dict[str, str] = {}
    holders: dict[str, PurePosixPath] = {}
    faults = []
    for list_name in sorted(lists, key=lambda name: list(LISTS).index(name.stem)):
        try:
            lines = text(tree.root / list_name).splitlines()
        except ValueError as error:
            faults.append(Fault(str(list_name), f"{error}."))
            continue
        for number, line in enumerate(lines, start=1):
            # lists of a class, which some tools call train.txt, add 1, 0 or -1
            name = line.strip() if line.strip() in stems else re.sub(r"\s+-?[01]$", "", line.strip())
            if not name:
                continue
            if name not in stems:
                reason = f"{name!r} has no {wanted}. Add {name}{ending} or remove the line."
                faults.append(Fault(f"{list_name}: line {number}", reason))
            elif list_name.stem == "trainval" and name in found:
                continue
            elif found.setdefault(name, LISTS[list_name.stem]) != LISTS[list_name.stem]:
                reason = f"{name!r} is in {holders[name]} too. Remove it from one of the two."
                faults.append(Fault(f"{list_name}: line {number}", reason))
            holders.setdefault(name, list_name)
    return found, faults
