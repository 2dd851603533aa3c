"""mask_png: label maps as pictures: `images/1.jpg` with `masks/1.png`, or `1.jpg` with `1_mask.png` beside it.

A pixel of a mask is a class id (of a palette: the index), or whatever `values` says; 255 counts for nothing. Folders
`train`, `val` and `test` (`training`, `validation`, …), above or below `images` and `masks`, give the split. Names come
from `classes`, or from the table `_classes.csv` of Roboflow's "Semantic Segmentation Masks". ADE20K is read by the
options `masks: annotations, ignore: 0`, PASCAL VOC by `images: JPEGImages, masks: SegmentationClass, lists:
Segmentation`, Cityscapes by those in _layout.py, which `convline add` finds by itself.
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
#: how many values can be classes where nothing names them
MOST_GUESSED = 32
#: unknown values of one mask after which no more are looked for: a photograph taken for a mask has millions
MOST_UNKNOWN = 10_000

#: a grey value, or red, green and blue
Value = int | list[int]


@dataclass(frozen=True, slots=True)
class _Legend:
    """What stands for each class in the masks: levels, or colours as 0xRRGGBB; `ignore` counts for nothing.

    others: whether all other values count for nothing, too.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    ignore: int
    coloured: bool
    others: bool


@dataclass(frozen=True, slots=True)
class _Listed:
    """Lists of names, the split that each name has by them, and what is wrong with them."""

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

    classes: names of the classes, background first where there is one · values: what stands for each of them in
    the masks, in the same order: grey values or [red, green, blue]; by default 0, 1, 2, … without `ignore`, and for two
    classes 0 and 255 if no mask holds a 1 · ignore: value or colour of pixels that count for nothing · ignore_others:
    whether pixels of all other values count for nothing, too, or are faults · images, masks: names of the folders that
    hold them · image_ending, mask_ending: what their names have more than the part that is common to both; pictures
    without it are left alone · lists: name of a folder whose train.txt, val.txt, … say which images are read, and give
    their splits; none by default.
    """
    names = {"lists": lists, "images": images, "masks": masks, "image_ending": image_ending, "mask_ending": mask_ending}
    for option, name in names.items():
        if not isinstance(name, str):
            raise UserError(f"option {option}: {name!r} is no name. Put it into quotes.")
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
    """The folders' names, and names for what the masks hold where nothing gives them: to be made better by hand."""
    pictures = [name for name in tree.files if name.suffix.lower() in SUFFIXES]
    for layout in LAYOUTS:
        wanted = [name for name in pictures if layout.reads(name)]
        pairs, _ = paired(wanted, layout)
        if len(pairs) * 4 > len(wanted):  # an image and its mask are two
            break
    else:
        return None
    named = any(name.name == TABLE for name in tree.files)
    usual = asdict(Layout())
    options = {option: name for option, name in asdict(layout).items() if name != usual[option]}
    return options | ({} if named else _guessed(tree.root, pairs))


def _guessed(root: Path, pairs: Pairs) -> dict[str, Any]:
    """`classes`, and `values` where they are not 0, 1, 2, …, by what the masks hold; nothing where that is too much."""
    for coloured in (False, True):
        found: set[int] = set()
        count = 0
        for pair in pairs:
            with contextlib.suppress(MaskError):  # told when it is its turn
                for levels in levels_of(picture(root, *pair, coloured), coloured):
                    found.update(values_of(levels))
                count += 1
        if 2 * count < len(pairs):
            continue
        values = sorted(found) if coloured or found == {0, IGNORE} else sorted(found - {IGNORE})
        if 1 < len(values) <= MOST_GUESSED:
            shown = [[value >> 16, value >> 8 & 255, value & 255] if coloured else value for value in values]
            names = [f"colour-{value:06x}" if coloured else f"class-{value}" for value in values]
            classes = ["background" if value == 0 else name for value, name in zip(values, names, strict=True)]
            return {"classes": classes} | ({} if values == list(range(len(values))) else {"values": shown})
    return {}


def _listed(tree: Tree, pictures: list[PurePosixPath], layout: Layout, folder: str) -> _Listed:
    files = split_lists.found_in(tree, folder)
    if not files:
        raise UserError(f"option lists: no folder {folder} holds a train.txt. Name the one that does.")
    masks = {layout.key(name)[-1] for name in pictures if layout.inside(name) and layout.masked(name)}
    return _Listed(files, *split_lists.splits(tree, files, masks, "mask", ".png"))


def _split(name: PurePosixPath) -> str | None:
    return next((SPLITS[part.lower()] for part in name.parts[:-1][:2] if part.lower() in SPLITS), None)


def _table(root: Path, tables: list[PurePosixPath], values: list[Value] | None) -> tuple[list[str], list[Value]]:
    """Names and values as `_classes.csv` gives them: `Pixel Value, Class`, one a line."""
    if not tables:
        raise UserError(f"{root}: nothing names the classes. Set the option `classes: [background, road, …]`.")
    if values is not None:
        raise UserError(f"option values: has no meaning without `classes`; {tables[0]} gives its own.")
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
            raise UserError(f"{root / name}: other classes than {tables[0]}. Make them equal.")
    return [label for _, label in read[0]], [value for value, _ in read[0]]


def _legend(classes: list[str], values: list[Value] | None, ignore: Value, *, others: bool) -> _Legend:
    if not isinstance(classes, list) or not all(isinstance(name, str) and name for name in classes):
        raise UserError(f"option classes: {classes!r} is no list of names. Write [background, road, …].")
    if len(set(classes)) < len(classes) or len(classes) > IGNORE:
        raise UserError(f"option classes: a name occurs twice, or there are more than {IGNORE}. Correct it.")
    counted = (value for value in range(IGNORE + 1) if value != ignore)
    wanted: list[Value] = list(itertools.islice(counted, len(classes))) if values is None else values
    if not isinstance(wanted, list) or len(wanted) != len(classes):
        raise UserError(f"option values: {wanted!r} are not {len(classes)}, one for each of the classes. Correct it.")
    coloured = any(isinstance(value, list) for value in [*wanted, ignore])
    codes = tuple(_code("values", value, coloured) for value in wanted)
    if len(set(codes)) < len(codes):
        raise UserError(f"option values: {wanted!r} has one twice. Give each class its own.")
    return _Legend(tuple(classes), codes, _code("ignore", ignore, coloured), coloured, others)


def _code(option: str, value: Value, coloured: bool) -> int:
    """A value as masks are compared: a grey value as it is, a colour (or grey among colours) as 0xRRGGBB."""
    parts = value if isinstance(value, list) else [value] * 3
    if len(parts) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in parts):
        raise UserError(f"option {option}: {value!r} is neither 0..255 nor [red, green, blue]. Correct it.")
    return parts[0] << 16 | parts[1] << 8 | parts[2] if coloured else parts[0]


def _binary(root: Path, pairs: Pairs) -> bool:
    """Whether two classes are drawn as 0 and 255, so that 255 is no pixel to ignore."""
    white = False
    for pair in pairs:
        with contextlib.suppress(MaskError):  # told when it is its turn
            for levels in levels_of(picture(root, *pair, coloured=False), coloured=False):
                if (levels == 1).any():
                    return False
                white = white or bool((levels == IGNORE).any())
    return white


def _ids(drawn: NDArray[Any], legend: _Legend) -> NDArray[np.uint8]:
    """The label map of a mask; MaskError where a value stands for nothing."""
    meanings = {legend.ignore: IGNORE} | {value: number for number, value in enumerate(legend.values)}
    values = np.array(sorted(meanings))
    ids = np.array([meanings[value] for value in values.tolist()], np.uint8)
    found: list[NDArray[np.uint8]] = []
    strange: Counter[int] = Counter()
    for levels in levels_of(drawn, legend.coloured):
        places = np.searchsorted(values, levels).clip(max=len(values) - 1)
        known = values[places] == levels
        found.append(np.where(known, ids[places], np.uint8(IGNORE)))
        if not legend.others:
            unknown, counts = np.unique(levels[~known], return_counts=True)
            strange.update(dict(zip(unknown.tolist(), counts.tolist(), strict=True)))
        if len(strange) > MOST_UNKNOWN:
            break
    if strange:
        most = sorted(strange, key=lambda value: (-strange[value], value))[:SHOWN]
        told = ", ".join(f"{_told(value, legend)} on {strange[value]:,} px" for value in most)
        more = ", …" if len(strange) > SHOWN else ""
        named = ", ".join(_told(value, legend) for value in legend.values)
        remedy = "Name them, set the option `ignore_others`, or mend the mask."
        raise MaskError(f"unknown values {told}{more}; the classes have {named}. {remedy}")
    return np.concatenate(found)


def _told(value: int, legend: _Legend) -> str:
    return f"[{value >> 16}, {value >> 8 & 255}, {value & 255}]" if legend.coloured else str(value)
