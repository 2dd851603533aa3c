"""mask_png: label maps as image files: `images/1.jpg` with `masks/1.png`, or `1.jpg` with `1_mask.png` beside it.

A pixel of a mask is a class id (of a palette: the index), or one of `values`; 255 is ignored. Folders
`train`, `val` and `test` (`training`, `validation`, …), above or below `images` and `masks`, give the split. Names come
from `classes`, or from the table `_classes.csv` of Roboflow's "Semantic Segmentation Masks". ADE20K is read by the
options `masks: annotations, ignore: 0`, PASCAL VOC by `images: JPEGImages, masks: SegmentationClass, lists:
Segmentation`, Cityscapes by those in parts/layout.py, which `convline add` finds by itself.
"""

import contextlib
import csv
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.image_folder import SPLITS
from pipeline.prepare.formats.parts import split_lists
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.layout import LAYOUTS, Layout, Pairs, paired
from pipeline.prepare.formats.parts.mask_values import MaskError, levels_of, picture, values_of
from pipeline.sample import IGNORE, Classes, Fault, Sample

TABLE = "_classes.csv"
SHOWN = 3
#: how many values may be taken for classes if no names are given
MOST_GUESSED = 32
#: unknown values in one mask after which the search ends: a photograph mistaken for a mask has millions
MOST_UNKNOWN = 10_000

#: a grey value, or red, green and blue
Value = int | list[int]


@dataclass(frozen=True, slots=True)
class _Legend:
    """The value of each class in the masks: levels, or colours as 0xRRGGBB; pixels of value `ignore` are ignored.

    others: whether all other values are ignored, too.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    ignore: int
    coloured: bool
    others: bool


@dataclass(frozen=True, slots=True)
class _Listed:
    """Lists of names, the split of each name, and the faults of the lists."""

    files: split_lists.Names
    splits: dict[str, str]
    faults: list[Fault]


def read(
    path: Path | None,
    *,
    classes: list[str] | None = None,
    values: list[Value] | None = None,
    ignore: Value = IGNORE,
    images: str = "images",
    masks: str = "masks",
    image_ending: str = "",
    mask_ending: str = "",
    ignore_others: bool = False,
    lists: str = "",
) -> Iterator[Classes | Sample | Fault]:
    """Images with their label maps.

    classes: names of the classes, background first if there is one · values: their values in the masks, in the same
    order: grey values or [red, green, blue]; by default 0, 1, 2, … without `ignore`, and for two classes 0 and 255 if
    no mask has a 1 · ignore: value or colour of ignored pixels · ignore_others: whether pixels of all other values are
    ignored, too, or are faults · images, masks: names of the folders · image_ending, mask_ending: ending of their names
    after the common part; files without it are not read · lists: name of a folder whose train.txt, val.txt, … name
    the images to read, and give their splits; none by default.
    """
    names = {"lists": lists, "images": images, "masks": masks, "image_ending": image_ending, "mask_ending": mask_ending}
    for option, name in names.items():
        if not isinstance(name, str):
            raise UserError(f"option {option}: {name!r} is not a string. Put it into quotes.")
    tree, layout = scan(path), Layout(images, masks, image_ending, mask_ending)
    pictures = [name for name in tree.files if name.suffix.lower() in SUFFIXES and layout.reads(name)]
    tables = [name for name in tree.files if name.name == TABLE]
    named = _Listed([], {}, []) if not lists else _listed(tree, pictures, layout, lists)
    if lists:
        pictures = [name for name in pictures if layout.inside(name) and layout.key(name)[-1] in named.splits]
    pairs, faults = paired(pictures, layout)
    if pairs and classes is None:
        classes, values = _table(tree.root, tables, values)
    if pairs and values is None and len(classes or ()) == 2 and ignore == IGNORE and _binary(tree.root, pairs):
        values = [0, 255]
    legend = _legend(classes or [], values, ignore, others=ignore_others)
    yield Classes(semantic=legend.names)
    yield from tree.faults + named.faults + faults
    yield from ignored(tree, [name for name in tree.files if name not in {*pictures, *tables, *named.files}])
    for image, mask in pairs:
        try:
            semantic = _ids(picture(tree.root, image, mask, legend.coloured), legend)
        except MaskError as error:
            yield Fault(str(mask), str(error))
            continue
        split = named.splits[layout.key(image)[-1]] if lists else _split(image)
        yield Sample(str(image), tree.root / image, split=split, source=str(image), semantic=semantic)


def recognise(tree: Tree) -> dict[str, Any] | None:
    """The folders' names, and provisional class names for the values in the masks if no table names them."""
    pictures = [name for name in tree.files if name.suffix.lower() in SUFFIXES]
    for layout in LAYOUTS:
        candidates = [name for name in pictures if layout.reads(name)]
        pairs, _ = paired(candidates, layout)
        if len(pairs) * 4 > len(candidates):  # an image and its mask are two files
            break
    else:
        return None
    named = any(name.name == TABLE for name in tree.files)
    usual = asdict(Layout())
    options = {option: name for option, name in asdict(layout).items() if name != usual[option]}
    return options | ({} if named else _guess(tree.root, pairs))


def _guess(root: Path, pairs: Pairs) -> dict[str, Any]:
    """`classes`, and `values` if they are not 0, 1, 2, …, from the values in the masks; {} if they are too many."""
    for coloured in (False, True):
        present: set[int] = set()
        count = 0
        for pair in pairs:
            with contextlib.suppress(MaskError):  # reported when the mask is read
                for levels in levels_of(picture(root, *pair, coloured), coloured):
                    present.update(values_of(levels))
                count += 1
        if 2 * count < len(pairs):
            continue
        values = sorted(present) if coloured or present == {0, IGNORE} else sorted(present - {IGNORE})
        if 1 < len(values) <= MOST_GUESSED:
            shown = [[value >> 16, value >> 8 & 255, value & 255] if coloured else value for value in values]
            names = [f"colour-{value:06x}" if coloured else f"class-{value}" for value in values]
            classes = ["background" if value == 0 else name for value, name in zip(values, names, strict=True)]
            return {"classes": classes} | ({} if values == list(range(len(values))) else {"values": shown})
    return {}


def _listed(tree: Tree, pictures: list[PurePosixPath], layout: Layout, folder: str) -> _Listed:
    files = split_lists.find_lists(tree, folder)
    if not files:
        raise UserError(f"option lists: no folder {folder} has a train.txt. Name another folder.")
    masks = {layout.key(name)[-1] for name in pictures if layout.inside(name) and layout.masked(name)}
    return _Listed(files, *split_lists.splits(tree, files, masks, "mask", ".png"))


def _split(name: PurePosixPath) -> str | None:
    return next((SPLITS[part.lower()] for part in name.parts[:-1][:2] if part.lower() in SPLITS), None)


def _table(root: Path, tables: list[PurePosixPath], values: list[Value] | None) -> tuple[list[str], list[Value]]:
    """Names and values from `_classes.csv`: `Pixel Value, Class`, one per line."""
    if not tables:
        raise UserError(f"{root}: nothing names the classes. Set the option `classes: [background, road, …]`.")
    if values is not None:
        raise UserError(f"option values: needs `classes`, because {tables[0]} has its own values. Set both or neither.")
    read = []
    for name in tables:
        try:
            text = (root / name).read_text(encoding="utf-8-sig")
            rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()[1:]) if any(row)]
            read.append(sorted((int(value), label) for value, label in rows))
        except (OSError, ValueError, csv.Error) as error:
            raise UserError(f"{root / name}: not a table `Pixel Value, Class` ({error}). Correct it.") from error
    for name, rows_read in zip(tables, read, strict=True):
        if rows_read != read[0]:
            raise UserError(f"{root / name}: other classes than in {tables[0]}. Make them equal.")
    return [label for _, label in read[0]], [value for value, _ in read[0]]


def _legend(classes: list[str], values: list[Value] | None, ignore: Value, *, others: bool) -> _Legend:
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
    return _Legend(tuple(classes), codes, _code("ignore", ignore, coloured), coloured, others)


def _code(option: str, value: Value, coloured: bool) -> int:
    """A value as an int: a grey value as it is, a colour (or a grey value among colours) as 0xRRGGBB."""
    parts = value if isinstance(value, list) else [value] * 3
    if len(parts) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in parts):
        raise UserError(f"option {option}: {value!r} is neither 0..255 nor [red, green, blue]. Correct it.")
    return parts[0] << 16 | parts[1] << 8 | parts[2] if coloured else parts[0]


def _binary(root: Path, pairs: Pairs) -> bool:
    """Whether the masks have the values 0 and 255 only, so that 255 is a class."""
    white = False
    for pair in pairs:
        with contextlib.suppress(MaskError):  # reported when the mask is read
            for levels in levels_of(picture(root, *pair, coloured=False), coloured=False):
                if (levels == 1).any():
                    return False
                white = white or bool((levels == IGNORE).any())
    return white


def _ids(pixels: NDArray[Any], legend: _Legend) -> NDArray[np.uint8]:
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


def _text(value: int, legend: _Legend) -> str:
    return f"[{value >> 16}, {value >> 8 & 255}, {value & 255}]" if legend.coloured else str(value)
