"""csv: tables that list images: `image,label`, or Roboflow's `_classes.csv` with a column of 0 and 1 a class.

Every `.csv` and `.tsv` file of the folder is read, unless `table` names one. The delimiter is the one of , ; tab |
that gives the header most columns. A split column gives the split; else the name of the table (`train.csv`) or of its
folder (`train`, `val`, `valid`, `validation` or `test`). Faults name the table's line.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.image_folder import SPLITS
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.sample import Classes, Fault, Sample

#: names of a column, if no option names it
USUAL = {
    "image": ("image", "file", "filename", "file_name", "path", "filepath", "image_path", "image_id", "id"),
    "label": ("label", "class", "class_name", "category", "target"),
    "split": ("split", "set", "subset"),
    "group": ("group", "subject", "patient"),
}
DELIMITERS = ",;\t|"
TABLES = (".csv", ".tsv")
#: lines that are read to recognise a table
LOOKED_AT = 20
#: cells that mean a missing label
EMPTY = ("", "nan")


class _LineError(Exception):
    """Why a line, or the table if it is the header, can't be used, and the remedy."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a table; `where` is the table and the line's number."""

    where: str
    image: PurePosixPath
    label: str
    split: str | None
    group: str | None


@dataclass(frozen=True, slots=True)
class _Table:
    """What is needed to read a table's lines.

    columns: index of image, label, split and group · classes: indices of the one-hot columns, if there is no label
    column · split: the table's split, for lines without one · files: the files of the dataset · folders: to which the
    names of images are relative.
    """

    header: list[str]
    columns: dict[str, int]
    classes: list[int]
    split: str | None
    files: frozenset[PurePosixPath]
    folders: tuple[PurePosixPath, ...]


def read(
    path: Path | None,
    *,
    table: str | None = None,
    folder: str | None = None,
    image: str | None = None,
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
) -> Iterator[Classes | Sample | Fault]:
    """Images of a folder as its tables list them.

    table: the only table to read, relative to the path · folder: to which the images' names are relative (default: the
    table's folder, else the path itself) · image, label, split, group: names of the columns, if they are not the usual
    ones (image, file, filename, path; label, class; split; group). Images of one group are never in two splits.
    """
    wanted = {"image": image, "label": label, "split": split, "group": group}
    for option, text in {**wanted, "table": table, "folder": folder}.items():
        if not isinstance(text, str | None):
            raise UserError(f"option {option}: {text!r} is not a string. Put it into quotes.")
    tree = scan(path)
    tables = [name for name in tree.files if name.suffix.lower() in TABLES and table in {None, str(name)}]
    if table is not None and not tables:
        raise UserError(f"option table: {tree.root / table} is not a table of this folder. Correct it.")
    lines, faults = _once(item for name in tables for item in _lines(tree, name, wanted, folder))
    classes = sorted({line.label for line in lines}, key=_order)
    used = {*tables, *(line.image for line in lines)}
    yield Classes(tuple(classes))
    yield from tree.faults + faults
    yield from ignored(tree, [name for name in tree.files if name not in used])
    if not tables:
        yield Fault(".", "has no table (.csv, .tsv). Put one here that lists the images and their labels.")
    numbers = {name: number for number, name in enumerate(classes)}
    for line in lines:
        name = str(line.image)
        yield Sample(name, tree.root / name, line.group, line.split, source=name, label=numbers[line.label])


def recognise(tree: Tree) -> dict[str, Any] | None:
    """The option `table` if only one of several lists images with labels; no options if all do."""
    tables = [name for name in tree.files if name.suffix.lower() in TABLES]
    usual: dict[str, str | None] = dict.fromkeys(USUAL)
    listing = [
        name
        for name in tables
        if any(isinstance(item, _Line) for item in islice(_lines(tree, name, usual, None), LOOKED_AT))
    ]
    if not listing:
        return None
    return {"table": str(listing[0])} if len(listing) == 1 < len(tables) else {}


def _order(name: str) -> tuple[bool, int, str]:
    """Sort key: numbers by value, before words."""
    number = name.isascii() and name.isdecimal()
    return not number, int(name) if number else 0, name


def _once(items: Iterable[_Line | Fault]) -> tuple[list[_Line], list[Fault]]:
    """The lines, each image once, and all faults."""
    lines: dict[PurePosixPath, _Line] = {}
    faults = []
    for item in items:
        if isinstance(item, Fault):
            faults.append(item)
        elif lines.setdefault(item.image, item) is not item:
            other = lines[item.image].where
            faults.append(Fault(item.where, f"{item.image} is listed in {other}, too. Remove one of the two."))
    return list(lines.values()), faults


def _lines(
    tree: Tree, name: PurePosixPath, wanted: dict[str, str | None], folder: str | None
) -> Iterator[_Line | Fault]:
    """Lines and faults of one table."""
    try:
        text = (tree.root / name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        yield Fault(str(name), f"can't be read ({error}). Save it as UTF-8.")
        return
    rows = csv.reader(io.StringIO(text), delimiter=_delimiter(text), skipinitialspace=True, strict=True)
    try:
        table = _table(tree, name, next(rows, []), wanted, folder)
        for row in rows:
            where = f"{name}:{rows.line_num}"
            try:
                if any(row):
                    yield _line(table, where, [cell.strip() for cell in row])
            except _LineError as error:
                yield Fault(where, str(error))
    except (_LineError, csv.Error) as error:
        what = f"{error}. Correct its quotes." if isinstance(error, csv.Error) else str(error)
        yield Fault(f"{name}:{rows.line_num or 1}", what)


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(DELIMITERS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def _table(
    tree: Tree, name: PurePosixPath, cells: list[str], wanted: dict[str, str | None], folder: str | None
) -> _Table:
    """A table, by its first line; _LineError if that lacks needed columns."""
    header = [cell.strip() for cell in cells]
    plain = [cell.casefold() for cell in header]
    columns = {}
    for role, usual in USUAL.items():
        given = wanted[role]
        accepted = usual if given is None else (given.casefold(),)
        number = next((plain.index(column) for column in accepted if column in plain), None)
        if number is not None:
            columns[role] = number
        elif given is not None or role == "image":
            text = f"no column is named {' or '.join(accepted)}; the first line has {', '.join(header) or 'none'}"
            raise _LineError(f"{text}. Name the {role}'s column by the option `{role}`, or the table by `table`.")
    classes = [] if "label" in columns else [at for at in range(len(header)) if at not in columns.values()]
    if "label" not in columns and len(classes) < 2:
        raise _LineError(f"no column has labels; the first line has {', '.join(header)}. Name it: option `label`.")
    split = next((SPLITS[part] for part in (name.stem.lower(), name.parent.name.lower()) if part in SPLITS), None)
    folders = (name.parent, PurePosixPath()) if folder is None else (PurePosixPath(folder),)
    return _Table(header, columns, classes, split, frozenset(tree.files), folders)


def _line(table: _Table, where: str, row: list[str]) -> _Line:
    if len(row) != len(table.header):
        raise _LineError(f"{len(row)} cells for {len(table.header)} columns. Correct the line, or quote its commas.")
    cells = {role: row[at] for role, at in table.columns.items()}
    image = _image(table, cells["image"])
    label = cells["label"] if "label" in cells else _hot(table, row)
    if label.casefold() in EMPTY:
        raise _LineError(f"{image} has no label. Label it or remove the line.")
    split = SPLITS.get(cells["split"].lower()) if "split" in cells else table.split
    if "split" in cells and split is None:
        raise _LineError(f"split {cells['split']!r} is not one of {', '.join(SPLITS)}. Correct it.")
    if cells.get("group") == "":
        raise _LineError(f"{image} has no group. Name its group.")
    return _Line(where, image, label, split, cells.get("group"))


def _image(table: _Table, text: str) -> PurePosixPath:
    """The image file that a line names, with or without suffix, below the dataset's folder."""
    name = PurePosixPath(text.replace("\\", "/"))
    if not text:
        raise _LineError("has no image. Name it or remove the line.")
    if name.is_absolute() or ".." in name.parts or PureWindowsPath(text).drive:
        raise _LineError(f"{text!r} is outside the dataset's folder. Give a path within it.")
    suffixes = ["", *([] if name.suffix.lower() in SUFFIXES else sorted(SUFFIXES))]
    for start in table.folders:
        for suffix in suffixes:
            if (file := start / f"{name}{suffix}") in table.files:
                return file
    raise _LineError(f"{text!r}: no such image. Add it, remove the line, or set the option `folder`.")


def _hot(table: _Table, row: list[str]) -> str:
    """The class whose one-hot column is 1."""
    for at in table.classes:
        if row[at] not in {"0", "1"}:
            column = table.header[at]
            raise _LineError(
                f"column {column!r} has {row[at]!r}, not 0 or 1. Name the labels' column by option `label`."
            )
    hot = [table.header[at] for at in table.classes if row[at] == "1"]
    if len(hot) > 1:
        raise _LineError(f"has several classes: {', '.join(hot)}. Give one class per image.")
    return hot[0] if hot else ""
