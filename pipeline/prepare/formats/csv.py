"""csv: tables that list images: `image,label`, or Roboflow's `_classes.csv` with a column of 0 and 1 a class.

Every `.csv` and `.tsv` file of the folder is read, unless `table` names one; Kaggle's sample submissions are left out.
The delimiter is the one of , ; tab | that gives the header most columns. A split column gives the split; else the name
of the table (`train.csv`) or of its folder (`train`, `val`, `valid`, `validation` or `test`). Faults name the table's
line. Boxes, several labels per image and numbers to predict are not read, and named where they are seen.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts.csv_checks import AS_CLASSES, doubts
from pipeline.prepare.formats.parts.csv_tables import USUAL, Line, Reading, lines
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.finder import Finder
from pipeline.sample import Classes, Fault, Sample

TABLES = (".csv", ".tsv")
#: lines that are read to recognise a table
LOOKED_AT = 10_000
#: the option that reads labels in spite of a doubt
INSISTENT = {"as_classes": True}


def read(
    path: Path | None,
    *,
    table: str | None = None,
    folder: str | None = None,
    image: str | None = None,
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
    as_classes: bool = False,
) -> Iterator[Classes | Sample | Fault]:
    """Images of a folder as its tables list them.

    table: the only table to read, relative to the path · folder: to which the images' names are relative, or a pattern
    of folders (default: the table's folder, else the path itself, else any folder where only one fits) · image, label,
    split, group: names of the columns, if they are not the usual ones (image, file, filename, path; label, class;
    split; group). Images of one group are never in two splits · as_classes: true reads labels as classes though they
    look like numbers to predict or like several labels, or have boxes beside them.
    """
    wanted = {"image": image, "label": label, "split": split, "group": group}
    for option, text in {**wanted, "table": table, "folder": folder}.items():
        if not isinstance(text, str | None):
            raise UserError(f"option {option}: {text!r} is not a string. Put it into quotes.")
    tree = scan(path)
    tables = [name for name in _tables(tree, table is not None) if table in {None, str(name)}]
    if table is not None and not tables:
        raise UserError(f"option table: {tree.root / table} is not a table of this folder. Correct it.")
    finder = _finder(tree, folder)
    reading = Reading(wanted, finder, as_classes)
    listed, faults = _once(item for name in tables for item in lines(tree, name, reading))
    classes = sorted({line.label for line in listed}, key=_order)
    yield Classes(tuple(classes))
    yield from tree.faults + faults
    yield from finder.warnings()
    if not as_classes:
        where = ", ".join(str(name) for name in tables[:3])
        yield from (Fault(where, f"{reason}.", blocks=True) for reason in doubts(set(classes), len(listed)))
    if finder.unused:
        reason = f"{len(finder.unused):,} images ignored that no table lists, such as {min(finder.unused)}"
        yield Fault(".", reason, warning=True)
    yield from ignored(
        tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES and name not in tables]
    )
    if not tables:
        yield Fault(".", "has no table (.csv, .tsv). Put one here that lists the images and their labels.")
    numbers = {name: number for number, name in enumerate(classes)}
    for line in listed:
        name = str(line.image)
        yield Sample(name, tree.root / name, line.group, line.split, source=name, label=numbers[line.label])


def recognise(tree: Tree) -> dict[str, Any] | Doubt | None:
    """The option `table` if only one of several lists images with labels; no options if all do."""
    tables = _tables(tree)
    reading = Reading(dict.fromkeys(USUAL), Finder(tree, None, "folder"))
    listing, against = [], dict[PurePosixPath, Doubt]()
    for name in tables:
        items = list(islice(lines(tree, name, reading), LOOKED_AT))
        listed, faults = _once(items)
        blockers = [f"{fault.where}: {fault.reason}" for fault in faults if fault.blocks]
        reasons = [f"{name}: {reason}." for reason in doubts({line.label for line in listed}, len(listed))]
        only = {"table": str(name)} if len(tables) > 1 else {}
        if blockers:
            against[name] = Doubt(blockers[0], {**only, **INSISTENT} if AS_CLASSES in blockers[0] else None)
        elif reasons:
            against[name] = Doubt(reasons[0], {**only, **INSISTENT})
        elif listed:
            listing.append(name)
    if listing:
        return {"table": str(listing[0])} if len(listing) == 1 < len(tables) else {}
    return next(iter(against.values()), None)


def _tables(tree: Tree, submissions: bool = False) -> list[PurePosixPath]:
    tables = [name for name in tree.files if name.suffix.lower() in TABLES]
    return [name for name in tables if submissions or "submission" not in name.stem.casefold()]


def _finder(tree: Tree, folder: str | None) -> Finder:
    try:
        return Finder(tree, None if folder is None else PurePosixPath(folder.replace("\\", "/")), "folder")
    except ValueError as error:
        raise UserError(f"option folder: {error}.") from error


def _order(name: str) -> tuple[bool, int, str]:
    """Sort key: numbers by value, before words."""
    number = name.isascii() and name.isdecimal()
    return not number, int(name) if number else 0, name


def _once(items: Iterable[Line | Fault]) -> tuple[list[Line], list[Fault]]:
    """The lines, each image once, and all faults."""
    kept: dict[PurePosixPath, Line] = {}
    faults: list[Fault] = []
    several: dict[PurePosixPath, tuple[Line, Line]] = {}
    repeated = 0
    for item in items:
        if isinstance(item, Fault):
            faults.append(item)
            continue
        first = kept.setdefault(item.image, item)
        if first is item:
            continue
        if first.label != item.label:
            several.setdefault(item.image, (first, item))
        elif first == replace(item, where=first.where):
            repeated += 1
        else:
            reason = (
                f"{item.image} is listed in {first.where}, too, with another split or group. Remove one of the two."
            )
            faults.append(Fault(item.where, reason))
    if several:
        first, second = next(iter(several.values()))
        reason = (
            f"{len(several):,} images have several labels, such as {first.image} with {first.label!r} and "
            f"{second.label!r} ({second.where}): several labels per image are not supported. Give each image one."
        )
        faults.append(Fault(first.where, reason, blocks=True))
    if repeated:
        reason = f"{repeated:,} lines repeat an image with its label and were dropped"
        faults.append(Fault(".", reason, warning=True))
    return list(kept.values()), faults
