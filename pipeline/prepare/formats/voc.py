"""voc: boxes from PASCAL VOC's xml, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf.

Common layouts are supported: `Annotations/*.xml` with `JPEGImages/` and the splits of `ImageSets/Main/*.txt`, or xml
beside the images in `train`, `valid` and `test`, as exported by Roboflow. An xml belongs to the image with its own
name, because its `filename` and `path` are often from another machine. VOC counts pixels from 1 and includes the last,
so 1..W is the whole width and becomes 0..W. Parts of objects are not read; mask_png reads VOC's segmentations.
"""

import math
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts import split_lists
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.objects import AnnotatedObject, sample, split_of, text
from pipeline.sample import Classes, Fault, Sample

Names = list[PurePosixPath]
#: xml files that are read to recognise the format
LOOKED_INTO = 20


@dataclass(frozen=True, slots=True)
class Object:
    """An object of the xml: its class name, box and `difficult`."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    """The content of one xml; size: height and width of the image, None if missing or 0."""

    size: tuple[int, int] | None
    objects: list[Object]


def read(path: Path | None, *, first_pixel: int = 1) -> Iterator[Classes | Sample | Fault]:
    """Samples of a folder with VOC xml files.

    first_pixel: the number of the first pixel. With 1, as in VOC, x_min..x_max becomes x_min − 1..x_max; 0 is for
    tools that count from 0 and give corners (such as many exports of labelImg), whose numbers stay.
    """
    if first_pixel not in (0, 1):
        raise UserError(f"option first_pixel: {first_pixel!r} is neither 0 nor 1. Correct it.")
    tree = scan(path)
    files = [name for name in tree.files if name.suffix.lower() == ".xml"]
    lists = split_lists.find_lists(tree, "Main")
    parsed = {name: _parsed(tree.root, name) for name in files}
    annotations = {name: item for name, item in parsed.items() if isinstance(item, Annotation)}
    classes = sorted({item.name for annotation in annotations.values() for item in annotation.objects})
    yield Classes(tuple(classes))
    yield from tree.faults
    if not files:
        yield Fault(".", "has no annotation (*.xml). Give the folder that contains Annotations and JPEGImages.")
    for name, item in parsed.items():
        if isinstance(item, list):
            yield from (Fault(str(name), reason) for reason in item)
    yield from _from_zero(annotations, first_pixel)
    splits, faults = split_lists.splits(tree, lists, {name.stem for name in files}, "annotation", ".xml")
    yield from faults
    yield from _samples(tree, annotations, classes, splits if lists else None, first_pixel)
    used = {*files, *lists}
    yield from ignored(tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES and name not in used])


def recognise(tree: Tree) -> dict[str, Any] | None:
    """No options, if an xml is a VOC annotation."""
    files = [name for name in tree.files if name.suffix.lower() == ".xml"][:LOOKED_INTO]
    return {} if any(isinstance(_parsed(tree.root, name), Annotation) for name in files) else None


class _NoDoctype(ET.TreeBuilder):
    """Refuses a DOCTYPE, which can define entities that grow without bound or read other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Raise a ValueError."""
        raise ValueError("has a DOCTYPE, which could define entities. Remove that line.")


def _parsed(root: Path, name: PurePosixPath) -> Annotation | list[str]:
    """The content of an xml, or all reasons why it can't be used."""
    try:
        tree = ET.fromstring(text(root / name), ET.XMLParser(target=_NoDoctype()))
    except ET.ParseError as error:
        return [f"not valid XML: {error}. Export it again."]
    except ValueError as error:
        return [f"{str(error).removesuffix('.')}."]
    if tree.tag != "annotation":
        return [f"the root is <{tree.tag}>, not <annotation>. Move files other than VOC annotations out of the folder."]
    objects, reasons = [], []
    for number, item in enumerate(tree.findall("object")):
        try:
            objects.append(_object(item))
        except ValueError as error:
            kind = (item.findtext("name") or "").strip()
            reasons.append(f"object {number}{f' ({kind})' if kind else ''}: {error}.")
    sides = [tree.findtext(f"size/{side}") or "0" for side in ("height", "width")]
    if not all(re.fullmatch(r"\s*\d{1,9}\s*", side) for side in sides):
        reasons.append(f"size: height {sides[0]!r}, width {sides[1]!r} are not integers. Correct them.")
    if reasons:
        return reasons
    height, width = map(int, sides)
    return Annotation((height, width) if height and width else None, objects)


def _object(item: ET.Element) -> Object:
    name, difficult = (item.findtext("name") or "").strip(), (item.findtext("difficult") or "0").strip()
    if not name:
        raise ValueError("has no name. Name its class")
    if difficult not in {"0", "1"}:
        raise ValueError(f"difficult {difficult!r} is neither 0 nor 1. Correct it")
    given = {key: item.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")}
    try:
        x_min, y_min, x_max, y_max = (float(value or "missing") for value in given.values())
    except ValueError as error:
        raise ValueError(f"bndbox {_listed(given)}: not four numbers. Correct it") from error
    if not all(map(math.isfinite, (x_min, y_min, x_max, y_max))):
        raise ValueError(f"bndbox {_listed(given)}: not four finite numbers. Correct it")
    if x_max <= x_min or y_max <= y_min:
        remedy = "xmax must exceed xmin, and ymax ymin. Correct or remove it"
        raise ValueError(f"bndbox {_listed(given)} has no area: {remedy}")
    return Object(name, (x_min, y_min, x_max, y_max), difficult == "1")


def _listed(given: dict[str, str | None]) -> str:
    return ", ".join(f"{key} {value}" for key, value in given.items())


def _from_zero(annotations: dict[PurePosixPath, Annotation], first_pixel: int) -> Iterator[Fault]:
    starts = [name for name, each in annotations.items() for item in each.objects if min(item.box[:2]) == 0]
    if starts and first_pixel == 1:
        reason = (
            f"{len(starts)} boxes begin at 0, the first in {starts[0]}, but VOC's first pixel is 1. "
            "If your tool counts from 0, set the option `first_pixel: 0`"
        )
        yield Fault(".", reason, warning=True)


def _samples(
    tree: Tree,
    annotations: dict[PurePosixPath, Annotation],
    classes: list[str],
    splits: dict[str, str] | None,
    first_pixel: int,
) -> Iterator[Sample | Fault]:
    pictures: dict[str, Names] = defaultdict(list)
    for name in tree.files:
        if name.suffix.lower() in SUFFIXES:
            pictures[name.stem].append(name)
    unlisted = []
    for name, annotation in annotations.items():
        if splits is not None and name.stem not in splits:
            unlisted.append(name)
            continue
        beside = [picture for picture in pictures[name.stem] if picture.parent == name.parent]
        candidates = beside or pictures[name.stem]
        if len(candidates) != 1:
            two = " and ".join(map(str, candidates[:2]))
            reason = (
                f"could belong to {two}. Rename one" if two else "has no image of this name. Add the image or remove it"
            )
            yield Fault(str(name), f"{reason}.")
            continue
        objects = [
            AnnotatedObject(classes.index(item.name), _corners(item.box, first_pixel), difficult=item.difficult)
            for item in annotation.objects
        ]
        split = split_of(name.parent) if splits is None else splits[name.stem]
        yield sample(tree.root, candidates[0], objects, ("difficult",), split=split, size=annotation.size)
    if unlisted:
        reason = f"{len(unlisted)} annotations ignored that no list in ImageSets/Main names, such as {unlisted[0]}"
        yield Fault(".", reason, warning=True)
    annotated = {name.stem for name in tree.files if name.suffix.lower() == ".xml"}
    unannotated = [name for stem, names in pictures.items() if stem not in annotated for name in names]
    if unannotated:
        yield Fault(".", f"{len(unannotated)} images ignored that have no xml, such as {unannotated[0]}", warning=True)


def _corners(box: tuple[float, float, float, float], first_pixel: int) -> tuple[float, float, float, float]:
    return box[0] - first_pixel, box[1] - first_pixel, box[2], box[3]
