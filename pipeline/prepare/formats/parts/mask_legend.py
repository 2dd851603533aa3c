"""What each value of a mask means: names of classes and their values, from options or from a tool's table."""

import csv
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.prepare.formats.parts.files import Tree
from pipeline.prepare.formats.parts.mask_values import MaskError, levels_of
from pipeline.prepare.formats.parts.objects import text
from pipeline.sample import IGNORE

SHOWN = 3
#: unknown values in one mask after which the search ends: a photograph mistaken for a mask has millions
MOST_UNKNOWN = 10_000
#: the largest level of a mask with 16 bits
MAX_LEVEL = 65_535

#: a grey value, or red, green and blue
Value = int | list[int]
#: names of classes with their values
Named = list[tuple[str, Value]]


@dataclass(frozen=True, slots=True)
class Legend:
    """The value of each class in the masks: levels, or colours as 0xRRGGBB; pixels of value `ignore` are ignored.

    others: whether all other values are ignored, too.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    ignore: int
    coloured: bool
    others: bool


def tables(tree: Tree) -> list[PurePosixPath]:
    """Tables that name the classes, all of the kind of the first."""
    there = [name for name in tree.files if name.name in READERS]
    return [name for name in there if name.name == there[0].name]


def read_tables(tree: Tree, files: list[PurePosixPath]) -> tuple[list[str], list[Value]]:
    """Names and values from tables, which must agree."""
    contents = []
    for file in files:
        try:
            contents.append(READERS[file.name](text(tree.root / file)))
        except (ValueError, IndexError, csv.Error) as error:
            form = str(READERS[file.name].__doc__).rstrip(".")
            raise UserError(f"{tree.root / file}: not a table of {form} ({error}). Correct it.") from error
    for file, content in zip(files, contents, strict=True):
        if content != contents[0]:
            raise UserError(f"{tree.root / file}: other classes than in {files[0]}. Make them equal.")
    return [name for name, _ in contents[0]], [value for _, value in contents[0]]


def _roboflow(content: str) -> Named:
    """`Pixel Value, Class`, one per line."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(content.splitlines()[1:]) if any(row)]
    return [(name, value) for value, name in sorted((int(value), name) for value, name in rows)]


def _cvat(content: str) -> Named:
    """`label:red,green,blue:parts:actions`, one per line."""
    lines = [line.strip() for line in content.splitlines() if line.strip() and not line.startswith("#")]
    parts = [line.split(":") for line in lines]
    return [(name, _color(color.split(","))) for name, color, *_ in parts]


def _class_dict(content: str) -> Named:
    """`name,r,g,b`, one per line."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(content.splitlines()[1:]) if any(row)]
    return [(name, _color(color)) for name, *color in rows]


def _camvid(content: str) -> Named:
    """`red green blue name`, one per line."""
    rows = [line.split(None, 3) for line in content.splitlines() if line.strip()]
    return [(row[3].strip(), _color(row[:3])) for row in rows]


def _labelme(content: str) -> Named:
    """Names, one per line in the order of their ids; `__ignore__` has none."""
    names = [line.strip() for line in content.splitlines() if line.strip()]
    return [(name, number) for number, name in enumerate(name for name in names if name != "__ignore__")]


def _color(parts: list[str]) -> Value:
    red, green, blue = map(int, parts)
    return [red, green, blue]


#: file name of a table → how it is read
READERS: dict[str, Callable[[str], Named]] = {
    "_classes.csv": _roboflow,
    "labelmap.txt": _cvat,
    "class_dict.csv": _class_dict,
    "label_colors.txt": _camvid,
    "class_names.txt": _labelme,
}


def legend_of(classes: list[str], values: list[Value] | None, ignore: Value, *, others: bool) -> Legend:
    """The legend that the options give; UserError if they do not fit each other."""
    if not isinstance(classes, list) or not all(isinstance(name, str) and name for name in classes):
        raise UserError(f"option classes: {classes!r} is not a list of names. Write [background, road, …].")
    if len(set(classes)) < len(classes) or len(classes) > IGNORE:
        raise UserError(f"option classes: a name occurs twice, or there are more than {IGNORE} names. Correct it.")
    counted = (value for value in range(IGNORE + 1) if value != ignore)
    wanted: list[Value] = list(itertools.islice(counted, len(classes))) if values is None else values
    if not isinstance(wanted, list) or len(wanted) != len(classes):
        raise UserError(f"option values: {wanted!r} is not a list of {len(classes)} values, one per class. Correct it.")
    coloured = any(isinstance(value, list) for value in [*wanted, ignore])
    codes = tuple(_code("values", value, coloured) for value in wanted)
    if len(set(codes)) < len(codes):
        raise UserError(f"option values: {wanted!r} has a value twice. Give each class its own.")
    return Legend(tuple(classes), codes, _code("ignore", ignore, coloured), coloured, others)


def _code(option: str, value: Value, coloured: bool) -> int:
    """A value as an int: a grey value as it is, a colour (or a grey value among colours) as 0xRRGGBB."""
    parts = value if isinstance(value, list) else [value] * 3
    most = 255 if coloured else MAX_LEVEL
    if len(parts) != 3 or not all(isinstance(part, int) and 0 <= part <= most for part in parts):
        raise UserError(f"option {option}: {value!r} is neither 0..{most} nor [red, green, blue]. Correct it.")
    return parts[0] << 16 | parts[1] << 8 | parts[2] if coloured else parts[0]


def ids_of(pixels: NDArray[Any], legend: Legend) -> NDArray[np.uint8]:
    """The label map of a mask; MaskError if a value is unknown."""
    meanings = {legend.ignore: IGNORE} | {value: number for number, value in enumerate(legend.values)}
    values = np.array(sorted(meanings))
    ids = np.array([meanings[value] for value in values.tolist()], np.uint8)
    rows: list[NDArray[np.uint8]] = []
    unknown: Counter[int] = Counter()
    for levels in levels_of(pixels, legend.coloured):
        index = np.searchsorted(values, levels).clip(max=len(values) - 1)
        valid = values[index] == levels
        rows.append(np.where(valid, ids[index], np.uint8(IGNORE)))
        if not legend.others:
            others, counts = np.unique(levels[~valid], return_counts=True)
            unknown.update(dict(zip(others.tolist(), counts.tolist(), strict=True)))
        if len(unknown) > MOST_UNKNOWN:
            break
    if unknown:
        most = sorted(unknown, key=lambda value: (-unknown[value], value))[:SHOWN]
        shown = ", ".join(f"{_text(value, legend)} on {unknown[value]:,} px" for value in most)
        more = ", …" if len(unknown) > SHOWN else ""
        named = ", ".join(_text(value, legend) for value in legend.values)
        remedy = "Name them, set the option `ignore_others`, or correct the mask."
        raise MaskError(f"unknown values {shown}{more}; the classes have {named}. {remedy}")
    return np.concatenate(rows)


def _text(value: int, legend: Legend) -> str:
    return f"[{value >> 16}, {value >> 8 & 255}, {value & 255}]" if legend.coloured else str(value)
