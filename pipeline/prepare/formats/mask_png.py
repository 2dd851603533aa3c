"""mask_png: label maps as image files: `images/1.jpg` with `masks/1.png`, or `1.jpg` with `1_mask.png` beside it.

A pixel of a mask is a class id (of a palette: the index), or one of `values`; 255 is ignored. Folders
`train`, `val` and `test` (`training`, `validation`, …), above or below `images` and `masks`, give the split. Names come
from `classes`, or from a table: `_classes.csv` of Roboflow's "Semantic Segmentation Masks", `labelmap.txt` of CVAT's
"Segmentation mask", `class_dict.csv` and `label_colors.txt` of CamVid, `class_names.txt` of LabelMe's converter. ADE20K
is read by the options `masks: annotations, ignore: 0`, PASCAL VOC by `images: JPEGImages, masks: SegmentationClass,
lists: Segmentation`, Cityscapes and others by those in parts/layout.py, which `convline add` finds by itself.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import processes
from pipeline.errors import UserError
from pipeline.images import SUFFIXES, ImageError
from pipeline.prepare.formats.image_folder import SPLITS
from pipeline.prepare.formats.parts import mask_legend, mask_survey, split_lists
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.layout import LAYOUTS, Layout, Pairs, pair
from pipeline.prepare.formats.parts.mask_legend import Legend, Value
from pipeline.prepare.formats.parts.mask_values import MaskError, levels_of, picture
from pipeline.prepare.formats.parts.objects import upright_size
from pipeline.sample import IGNORE, Classes, Fault, Sample

#: masks that are opened to say why none can be read
TRIED = 5
#: classes below and from `threshold` on, if they have no names
TWO = ["background", "object"]


@dataclass(frozen=True, slots=True)
class _Listed:
    """Lists of names, the split of each name (None without lists), and the faults of the lists."""

    files: split_lists.Names
    splits: dict[str, str] | None
    faults: list[Fault]

    def split(self, image: PurePosixPath, layout: Layout) -> str | None:
        """The split of an image: of the lists, or of a folder's name."""
        if self.splits is not None:
            return self.splits[layout.key(image)[-1]]
        return next((SPLITS[part.lower()] for part in image.parts[:-1][:2] if part.lower() in SPLITS), None)


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
    threshold: float | None = None,
    without_mask: str = "",
) -> Iterator[Classes | Sample | Fault]:
    """Images with their label maps.

    classes: names of the classes, background first if there is one · values: their values in the masks, in the same
    order: grey values or [red, green, blue]; by default 0, 1, 2, … without `ignore`, and for two classes 0 and 255 if
    no mask has a 1 · ignore: value or colour of ignored pixels · ignore_others: whether pixels of all other values are
    ignored, too, or are faults · images, masks: names of the folders; `*annot` means all whose names end so, as the
    masks of `train` are in `trainannot` · image_ending, mask_ending: ending of their names after the common part; files
    without it are not read · lists: name of a folder whose train.txt, val.txt, … name the images to read, and give
    their splits; none by default · threshold: for masks with smoothed edges or from JPEG files: the gray level from
    which a pixel is the second of two classes · without_mask: name of the class that fills images without a mask, such
    as `background`; without it they are faults.
    """
    names = {"lists": lists, "images": images, "masks": masks, "image_ending": image_ending, "mask_ending": mask_ending}
    for option, name in (names | {"without_mask": without_mask}).items():
        if not isinstance(name, str):
            raise UserError(f"option {option}: {name!r} is not a string. Put it into quotes.")
    tree, layout = scan(path), Layout(images, masks, image_ending, mask_ending)
    pictures, named = _pictures(tree, layout, lists, alone=bool(without_mask))
    tables = mask_legend.tables(tree)
    paired = pair(pictures, layout)
    if threshold is not None:
        classes, values = _of_threshold(threshold, classes, values)
    elif paired.pairs and classes is None:
        classes, values = _named(tree, paired.pairs, tables, values)
    if paired.pairs and values is None and len(classes or ()) == 2 and ignore == IGNORE and _binary(tree, paired.pairs):
        values = [0, 255]
    legend = mask_legend.legend_of(classes or [], values, ignore, others=ignore_others)
    if without_mask and without_mask not in legend.names:
        raise UserError(f"option without_mask: {without_mask!r} is none of the classes. Name one of them.")
    yield Classes(semantic=legend.names)
    yield from tree.faults + named.faults + paired.faults
    yield from ignored(tree, [name for name in tree.files if name not in {*pictures, *tables, *named.files}])
    # 255 is ignored by the custom of label maps, which levels such as 0, 127, 255 and colors do not follow
    warn = ignore == IGNORE and not ignore_others and (legend.coloured or not mask_survey.is_void([*legend.values]))
    split = partial(named.split, layout=layout)
    yield from _samples(tree, paired.pairs, split, legend, threshold, warn)
    yield from _without_mask(tree, paired.unmasked, split, legend, without_mask)


def recognise(tree: Tree) -> dict[str, Any] | Doubt | None:
    """The folders' names, and provisional class names for the values in the masks if no table names them."""
    xml = any(name.suffix.lower() == ".xml" for name in tree.files)  # of PASCAL VOC, which `voc` reads
    for layout in LAYOUTS:
        has_folder = layout == Layout() or any(layout.in_masks(name) for name in tree.files)
        if not has_folder or (xml and layout.images == "JPEGImages"):
            continue
        lists = "Segmentation" if layout.images == "JPEGImages" and split_lists.find_lists(tree, "Segmentation") else ""
        candidates, _ = _pictures(tree, layout, lists, alone=False)
        pairs = pair(candidates, layout).pairs
        if len(pairs) * 4 > len(candidates):  # an image and its mask are two files
            break
    else:
        return None
    usual = asdict(Layout())
    options = {option: name for option, name in asdict(layout).items() if name != usual[option]}
    options |= {"lists": lists} if lists else {}
    if mask_legend.tables(tree):
        return options
    guess = mask_survey.guess(tree.root, pairs)
    if isinstance(guess, Doubt):  # one without options can't be read, and `read` tells why
        return Doubt(guess.reason, options | guess.options) if guess.options else options
    return options | guess


def _pictures(tree: Tree, layout: Layout, lists: str, *, alone: bool) -> tuple[list[PurePosixPath], _Listed]:
    """Images and masks, and what the lists in folders of the name `lists` say, which choose them if there are some.

    alone: whether images without a mask may be listed.
    """
    pictures = [name for name in tree.files if name.suffix.lower() in SUFFIXES and layout.reads(name)]
    if not lists:
        return pictures, _Listed([], None, [])
    files = split_lists.find_lists(tree, lists)
    if not files:
        raise UserError(f"option lists: no folder {lists} has a train.txt. Name another folder.")
    inside = [name for name in pictures if layout.inside(name)]
    stems = {layout.key(name)[-1] for name in inside if alone or layout.masked(name)}
    splits, faults = split_lists.splits(tree, files, stems, "mask", ".png")
    return [name for name in inside if layout.key(name)[-1] in splits], _Listed(files, splits, faults)


def _named(
    tree: Tree, pairs: Pairs, tables: list[PurePosixPath], values: list[Value] | None
) -> tuple[list[str], list[Value]]:
    """Names and values of the tables; UserError if there are none, with the reason if no mask could be read either."""
    if tables and values is not None:
        raise UserError(f"option values: needs `classes`, because {tables[0]} has its own values. Set both or neither.")
    if tables:
        return mask_legend.read_tables(tree, tables)
    reasons = [_why_unreadable(tree, *each) for each in pairs[:TRIED]]
    if all(reasons):
        raise UserError(f"{tree.root / pairs[0][1]}: {reasons[0]}")
    if isinstance(guess := mask_survey.guess(tree.root, pairs), Doubt):
        raise UserError(f"{tree.root}: {guess.reason}")
    raise UserError(f"{tree.root}: nothing names the classes. Set the option `classes: [background, road, …]`.")


def _why_unreadable(tree: Tree, image: PurePosixPath, mask: PurePosixPath) -> str | None:
    try:
        picture(tree.root, image, mask, coloured=True)
    except MaskError as error:
        return str(error)
    return None


def _of_threshold(
    threshold: float, classes: list[str] | None, values: list[Value] | None
) -> tuple[list[str], list[Value]]:
    """Names of the two classes, whose values are 0 and 1 after the threshold."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise UserError(f"option threshold: {threshold!r} is not a number. Give a gray level, such as 128.")
    if values is not None or len(classes or TWO) != 2:
        raise UserError("option threshold: it makes two classes. Name two by `classes`, and remove `values`.")
    return classes or TWO, [0, 1]


@dataclass(frozen=True)
class _Masks:
    """Reads the masks of pairs, in any process."""

    root: Path
    legend: Legend
    threshold: float | None

    def __call__(self, pair: tuple[PurePosixPath, PurePosixPath]) -> NDArray[np.uint8] | Fault:
        try:
            pixels = picture(self.root, *pair, self.legend.coloured, self.threshold)
            return mask_legend.ids_of(pixels, self.legend)
        except MaskError as error:
            return Fault(str(pair[1]), str(error))


def _samples(
    tree: Tree,
    pairs: Pairs,
    split: Callable[[PurePosixPath], str | None],
    legend: Legend,
    threshold: float | None,
    warn: bool,
) -> Iterator[Sample | Fault]:
    vanished: list[PurePosixPath] = []
    with processes.results(_Masks(tree.root, legend, threshold), pairs) as masks:
        for (image, mask), semantic in zip(pairs, masks, strict=True):
            if isinstance(semantic, Fault):
                yield semantic
                continue
            yield Sample(str(image), tree.root / image, split=split(image), source=str(image), semantic=semantic)
            if warn and (semantic == IGNORE).any():
                vanished.append(mask)
    if vanished:
        what = "white" if legend.coloured else "of 255"
        reason = f"{len(vanished)} masks have pixels that are {what}, which are ignored, such as {vanished[0]}"
        yield Fault(".", f"{reason}. If they are a class, name it by `classes` and `values`", warning=True)


def _without_mask(
    tree: Tree, unmasked: list[PurePosixPath], split: Callable[[PurePosixPath], str | None], legend: Legend, name: str
) -> Iterator[Sample | Fault]:
    """Images without a mask: one class each, or a fault."""
    for image in unmasked:
        if not name:
            remedy = "Add the mask, remove the image, or name by the option `without_mask` the class that fills it"
            yield Fault(str(image), f"an image without a mask of this name. {remedy}.")
            continue
        try:
            semantic = np.full(upright_size(tree.root / image), legend.names.index(name), np.uint8)
        except ImageError as error:
            yield Fault(str(image), str(error))
            continue
        yield Sample(str(image), tree.root / image, split=split(image), source=str(image), semantic=semantic)


def _binary(tree: Tree, pairs: Pairs) -> bool:
    """Whether the masks have the values 0 and 255 only, so that 255 is a class."""
    white = False
    with processes.results(_OnesAndWhites(tree.root), pairs) as values:
        for has_ones, has_whites in values:
            if has_ones:
                return False
            white = white or has_whites
    return white


@dataclass(frozen=True)
class _OnesAndWhites:
    """Whether the mask of a pair has pixels of 1, and of 255, asked in any process."""

    root: Path

    def __call__(self, pair: tuple[PurePosixPath, PurePosixPath]) -> tuple[bool, bool]:
        ones = whites = False
        with contextlib.suppress(MaskError):  # reported when the mask is read
            for levels in levels_of(picture(self.root, *pair, coloured=False), coloured=False):
                ones, whites = ones or bool((levels == 1).any()), whites or bool((levels == IGNORE).any())
        return ones, whites
