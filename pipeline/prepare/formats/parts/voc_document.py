"""The content of one VOC xml: the image's size, and its objects with class, box and `difficult`."""

import contextlib
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from pipeline.prepare.formats.parts.xml_text import xml_text
from pipeline.sample import Fault

HEAD_BYTES = 300
CORNERS = ("xmin", "ymin", "xmax", "ymax")
#: what tools write for `difficult`; "Unspecified" is the default of VOC's own `pose`
DIFFICULT = {"1": True, "true": True, "yes": True}
NOT_DIFFICULT = frozenset({"", "0", "false", "no", "unspecified", "none", "normal"})
#: shapes that tools write in place of a bndbox → what they are
OTHER_SHAPES = {
    "robndbox": "a rotated box (robndbox, as roLabelImg writes), which is not supported. Export upright boxes (bndbox)",
    "polygon": "a polygon without a bndbox, as LabelMe writes. Export the annotations as COCO or with boxes",
}


@dataclass(frozen=True, slots=True)
class Object:
    """An object of the xml: its class name, box as xmin, ymin, xmax, ymax, and `difficult`."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    """The content of one xml; size: height and width of the image, None if missing or 0 · filename: of the image."""

    size: tuple[int, int] | None
    objects: list[Object]
    filename: str


class _NoDoctype(ET.TreeBuilder):
    """Refuses a DOCTYPE, which can define entities that grow without bound or read other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Raise a ValueError."""
        raise ValueError("has a DOCTYPE, which could define entities. Remove that line")


def parse(path: Path) -> ET.Element:
    """The root <annotation> of a file; ValueError with reason and remedy."""
    try:
        root = ET.fromstring(xml_text(path), ET.XMLParser(target=_NoDoctype()))
    except ET.ParseError as error:
        raise ValueError(f"not valid XML: {error}. Export it again") from error
    if root.tag != "annotation":
        remedy = "Move files other than VOC annotations out of the folder"
        raise ValueError(f"the root is <{root.tag}>, not <annotation>. {remedy}")
    return root


def annotation(root: Path, name: PurePosixPath, first_pixel: int) -> Annotation | list[Fault]:
    """The content of an xml, or all reasons why it can't be used."""
    try:
        tree = parse(root / name)
    except ValueError as error:
        return [Fault(str(name), f"{error}.")]
    objects, faults = [], []
    for number, item in enumerate(tree.findall("object")):
        try:
            objects.append(_object(item, first_pixel))
        except ValueError as error:
            kind = _text(item, "name")
            faults.append(Fault(f"{name}: object {number}{f' ({kind})' if kind else ''}", f"{error}."))
    sides = [_text(tree, f"size/{side}") or "0" for side in ("height", "width")]
    if not all(re.fullmatch(r"\d{1,9}(\.0+)?", side) for side in sides):
        reason = f"size: height {sides[0]!r}, width {sides[1]!r} are not integers. Correct them."
        faults.append(Fault(str(name), reason))
    if faults:
        return faults
    height, width = (int(float(side)) for side in sides)
    return Annotation((height, width) if height and width else None, objects, _text(tree, "filename"))


def are_other_shapes(faults: Sequence[Fault]) -> bool:
    """Whether all faults are of shapes that are not supported."""
    return all(fault.reason.removesuffix(".") in OTHER_SHAPES.values() for fault in faults)


def is_voc(path: Path) -> bool:
    """Whether a file is a VOC annotation, or begins like one: what is wrong with it is told when it is read."""
    try:
        parse(path)
    except ValueError:
        with contextlib.suppress(OSError), path.open("rb") as file:
            return b"<annotation>" in file.read(HEAD_BYTES)
        return False
    return True


def _text(item: ET.Element, key: str) -> str:
    return (item.findtext(key) or "").strip()


def _object(item: ET.Element, first_pixel: int) -> Object:
    name, difficult = _text(item, "name"), _text(item, "difficult").lower()
    if not name:
        raise ValueError("has no name. Name its class")
    difficult = re.sub(r"\.0+$", "", difficult)
    if difficult not in NOT_DIFFICULT and difficult not in DIFFICULT:
        raise ValueError(f"difficult {_text(item, 'difficult')!r} is neither 0 nor 1. Correct it")
    if item.find("bndbox") is None:
        for shape, reason in OTHER_SHAPES.items():
            if item.find(shape) is not None:
                raise ValueError(reason)
        raise ValueError("has no bndbox. Draw its box or remove it")
    return Object(name, _box(item, first_pixel), difficult in DIFFICULT)


def _box(item: ET.Element, first_pixel: int) -> tuple[float, float, float, float]:
    given = [item.findtext(f"bndbox/{key}") for key in CORNERS]
    try:
        x_min, y_min, x_max, y_max = (float(value or "missing") for value in given)
    except ValueError as error:
        raise ValueError(f"bndbox {_listed(given)}: not four numbers. Correct it") from error
    if not all(map(math.isfinite, (x_min, y_min, x_max, y_max))):
        raise ValueError(f"bndbox {_listed(given)}: not four finite numbers. Correct it")
    # the last pixel is included where pixels are numbered from 1: xmax = xmin is one pixel wide
    if x_max <= x_min - first_pixel or y_max <= y_min - first_pixel:
        relation = "be at least" if first_pixel else "exceed"
        remedy = f"xmax must {relation} xmin, and ymax ymin. Correct or remove it"
        raise ValueError(f"bndbox {_listed(given)} has no area: {remedy}")
    if x_max == x_min and y_max == y_min:
        raise ValueError(f"bndbox {_listed(given)} is a single pixel, as a click makes it. Correct or remove it")
    return x_min, y_min, x_max, y_max


def _listed(given: Sequence[str | None]) -> str:
    return ", ".join(f"{key} {value}" for key, value in zip(CORNERS, given, strict=True))
