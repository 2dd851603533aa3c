"""The lines of tables that list images: header, columns, and the image and label of each line.

A table without a header is read if it has two columns and the file of an image in one of them.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.images import SUFFIXES
from pipeline.prepare.formats.image_folder import SPLITS
from pipeline.prepare.formats.parts.csv_checks import AS_CLASSES, box_columns, numeric
from pipeline.prepare.formats.parts.files import Tree
from pipeline.prepare.formats.parts.finder import Finder
from pipeline.prepare.formats.parts.objects import text
from pipeline.sample import Fault

#: names of a column, if no option names it; case, blanks and marks between words don't count
USUAL = {
    "image": ("image", "file", "filename", "path", "filepath", "imagepath", "imagename", "imageid", "id"),
    "label": ("label", "class", "classname", "category", "target", "labels", "tags"),
    "split": ("split", "set", "subset"),
    "group": ("group", "subject", "patient"),
}
DELIMITERS = ",;\t|"
TABLE_BYTES = 2_000_000_000
#: cells that mean a missing label
EMPTY = ("", "nan")
#: cells of a one-hot column
HOT = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
#: headers of columns that number the lines, as pandas writes them
INDEX = re.compile(r"(unnamed: ?\d+)?|index")
NOT_BOXES = "csv reads labels of images, not boxes. Export the set as COCO, VOC or YOLO"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table; `where` is the table and the line's number."""

    where: str
    image: PurePosixPath
    label: str
    split: str | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """How tables are read: names of columns by role, None where they are usual; whether labels are surely classes."""

    wanted: dict[str, str | None]
    finder: Finder
    as_classes: bool = False


class _LineError(Exception):
    """Why a line, or the table if it is the header, can't be used, and the remedy."""

    def __init__(self, reason: str, details: str = "", *, blocks: bool = False) -> None:
        super().__init__(reason)
        self.details = f" ({details})" if details else ""
        self.blocks = blocks


@dataclass(frozen=True, slots=True)
class _Table:
    """What is needed to read a table's lines.

    columns: index of image, label, split and group · classes: indices of the one-hot columns, if there is no label
    column · split: the table's split, for lines without one.
    """

    name: PurePosixPath
    header: list[str]
    columns: dict[str, int]
    classes: list[int]
    split: str | None
    finder: Finder


def lines(tree: Tree, name: PurePosixPath, reading: Reading) -> Iterator[Line | Fault]:
    """Lines and faults of one table."""
    try:
        content = text(tree.root / name, TABLE_BYTES)
    except ValueError as error:
        yield Fault(str(name), f"{error}.")
        return
    rows = csv.reader(io.StringIO(content), delimiter=_delimiter(content), skipinitialspace=True, strict=True)
    try:
        first = [cell.strip() for cell in next(rows, [])]
        if (columns := _positions(first, reading)) is None:
            table = _table(name, first, reading)
        else:
            table = _Table(name, first, columns, [], _split_of(name), reading.finder)
            reason = f"has no header; column {columns['image'] + 1} has the images, the other their labels"
            yield Fault(f"{name}:1", reason, warning=True)
            yield _line(table, f"{name}:1", first)
        for row in rows:
            where = f"{name}:{rows.line_num}"
            try:
                if any(row):
                    yield _line(table, where, [cell.strip() for cell in row])
            except _LineError as error:
                yield Fault(f"{where}{error.details}", f"{error}.", blocks=error.blocks)
    except (_LineError, csv.Error) as error:
        reason = f"{error}. Correct its quotes" if isinstance(error, csv.Error) else str(error)
        blocks = isinstance(error, _LineError) and error.blocks
        yield Fault(f"{name}:{rows.line_num or 1}", f"{reason}.", blocks=blocks)


def _delimiter(content: str) -> str:
    header = content.partition("\n")[0]
    return max(DELIMITERS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def _plain(header: str) -> str:
    return re.sub(r"[\s_.-]+", "", header.casefold())


def _is_image(cell: str) -> bool:
    return PurePosixPath(cell.replace("\\", "/")).suffix.lower() in SUFFIXES


def _positions(first: list[str], reading: Reading) -> dict[str, int] | None:
    """Columns of image and label of a table whose first line is no header, but a line; None if it is a header."""
    images = [index for index, cell in enumerate(first) if _is_image(cell)]
    if not images or any(reading.wanted.values()) or {_plain(cell) for cell in first} & set(USUAL["image"]):
        return None
    if len(first) == 2 and len(images) == 1:
        return {"image": images[0], "label": 1 - images[0]}
    if sum(numeric(cell) is not None for cell in first) >= 4:
        raise _LineError(f"has no header, and its lines look like boxes: {', '.join(first)}. {NOT_BOXES}", blocks=True)
    raise _LineError(
        f"has no header: the first line is that of the image {first[images[0]]}. "
        "Write a line above it that names the columns, as image,label",
        blocks=True,
    )


def _table(name: PurePosixPath, header: list[str], reading: Reading) -> _Table:
    """A table, by its first line; _LineError if that lacks needed columns."""
    plain = [_plain(cell) for cell in header]
    columns = {}
    for role, usual in USUAL.items():
        given = reading.wanted[role]
        accepted = usual if given is None else (_plain(given),)
        index = next((plain.index(column) for column in accepted if column in plain), None)
        if index is not None:
            columns[role] = index
        elif given is not None or role == "image":
            reason = f"no column is named {' or '.join(accepted if given is None else [given])}"
            listed = f"the first line has {', '.join(header) or 'none'}"
            remedy = f"Name the {role}'s column by the option `{role}`, or the table by `table`"
            raise _LineError(f"{reason}; {listed}. {remedy}")
    if not reading.as_classes and (boxes := box_columns(dict(zip(plain, header, strict=True)))):
        reason = f"has boxes in its columns {', '.join(boxes)}; {NOT_BOXES}"
        raise _LineError(f"{reason}, or set the option {AS_CLASSES} to read its labels alone", blocks=True)
    taken = set(columns.values())
    classes = [] if "label" in columns else [at for at in range(len(header)) if at not in taken]
    classes = [at for at in classes if not INDEX.fullmatch(header[at].casefold())]
    if "label" not in columns and len(classes) < 2:
        raise _LineError(f"no column has labels; the first line has {', '.join(header)}. Name it: option `label`")
    return _Table(name, header, columns, classes, _split_of(name), reading.finder)


def _split_of(name: PurePosixPath) -> str | None:
    return next((SPLITS[part] for part in (name.stem.lower(), name.parent.name.lower()) if part in SPLITS), None)


def _line(table: _Table, where: str, row: list[str]) -> Line:
    if len(row) != len(table.header):
        raise _LineError(f"{len(row)} cells for {len(table.header)} columns. Correct the line, or quote its commas")
    cells = {role: row[index] for role, index in table.columns.items()}
    named = cells["image"]
    if not named:
        raise _LineError("has no image. Name it or remove the line")
    try:
        image = table.finder.find(named, table.name)
    except ValueError as error:
        raise _LineError(str(error), named) from error
    label = cells["label"] if "label" in cells else _hot(table, row)
    if label.casefold() in EMPTY:
        raise _LineError("has no label. Label the image or remove the line", named)
    split = SPLITS.get(cells["split"].lower()) if "split" in cells else table.split
    if "split" in cells and split is None:
        raise _LineError(f"split {cells['split']!r} is not one of {', '.join(SPLITS)}. Correct it")
    if cells.get("group") == "":
        raise _LineError("has no group. Name the group of the image", named)
    return Line(where, image, label, split, cells.get("group"))


def _hot(table: _Table, row: list[str]) -> str:
    """The class whose one-hot column is 1."""
    values = [HOT.get(row[index].casefold()) for index in table.classes]
    if None in values:
        index = table.classes[values.index(None)]
        raise _LineError(
            f"column {table.header[index]!r} has other values than 0 and 1. Name the labels' column by the option "
            "`label`, or remove the columns that are no classes",
            row[index],
        )
    hot = [table.header[index] for index, value in zip(table.classes, values, strict=True) if value]
    if len(hot) > 1:
        reason = "has several classes: several labels per image are not supported. Give one class per image"
        raise _LineError(reason, ", ".join(hot), blocks=True)
    return hot[0] if hot else ""
