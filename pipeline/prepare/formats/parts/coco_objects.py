"""An annotation of COCO's json as an object: box, mask and keypoints are checked; errors name field and remedy."""

from typing import Any

from pipeline.geometry import rle
from pipeline.prepare.formats.parts.coco_document import Entry, number
from pipeline.prepare.formats.parts.objects import AnnotatedObject

FAR = 1e9
#: how four numbers of `bbox` are read: x, y, width, height, or x_min, y_min, x_max, y_max
SIZE, CORNERS = "size", "corners"
ROTATED = "rotated boxes are not supported. Export polygons, or draw the box upright"


def to_object(
    entry: Entry, label: int, size: tuple[int, int] | None, keypoints: int = 0, boxes: str = SIZE
) -> AnnotatedObject:
    """The object of an annotation, with its mask if the image's size is given; ValueError names field and remedy.

    keypoints: their number per object; an annotation without keypoints gets unlabelled ones. boxes: SIZE or CORNERS.
    """
    crowd = entry.get("iscrowd") or 0
    if number(crowd) not in (0, 1) and crowd is not True:
        raise ValueError(f"iscrowd {crowd!r} is neither 0 nor 1. Correct it")
    if number(_attributes(entry).get("rotation")):
        raise ValueError(f"turned by attributes.rotation: {ROTATED}")
    box = _box(entry, boxes)
    mask = None if size is None else _mask(entry.get("segmentation"), size)
    values = _keypoints(entry.get("keypoints"), keypoints) if keypoints else ()
    return AnnotatedObject(label, box, mask, crowd=bool(number(crowd) or crowd is True), keypoints=values)


def corners(entry: Entry) -> list[float] | None:
    """The four numbers of an annotation's box as they are given, None if it has none."""
    values = numbers(entry.get("bbox"))
    return values if values is not None and len(values) == 4 else None


def numbers(values: Any) -> list[float] | None:
    """The list's numbers, if all can be pixels; json also allows NaN, true and huge integers, tools write text."""
    if not isinstance(values, list):
        return None
    if all(type(value) in {int, float} and abs(value) < FAR for value in values):
        return values
    read: list[Any] = [number(value) for value in values]
    return read if all(value is not None and abs(value) < FAR for value in read) else None


def _attributes(entry: Entry) -> Entry:
    attributes = entry.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _box(entry: Entry, boxes: str) -> tuple[float, float, float, float]:
    given = entry.get("bbox")
    if not given and (polygons := _polygons(entry.get("segmentation"))):
        points = [value for polygon in polygons for value in polygon]
        return min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2])
    values = numbers(given)
    if values is not None and len(values) in {5, 8}:
        raise ValueError(f"bbox has {len(values)} numbers: {ROTATED}")
    if values is None or len(values) != 4:
        wanted = "x, y, width, height" if boxes == SIZE else "x_min, y_min, x_max, y_max"
        raise ValueError(f"bbox {given!r} is not four finite numbers {wanted}. Correct it")
    x, y, right, bottom = values
    if boxes == SIZE:
        right, bottom = x + right, y + bottom
    if right <= x or bottom <= y:
        needed = "width and height must exceed 0" if boxes == SIZE else "x_max must exceed x_min, and y_max y_min"
        raise ValueError(f"bbox {given} has no area: its {needed}. Correct or remove it")
    return x, y, right, bottom


def _keypoints(values: Any, count: int) -> tuple[float, ...]:
    if not values:
        return (0.0,) * 3 * count
    read = numbers(values)
    if read is None or len(read) != 3 * count:
        raise ValueError(
            f"keypoints {values!r} are not x, y and visibility of {count} keypoints. Give {3 * count} numbers"
        )
    if invalid := set(read[2::3]) - {0, 1, 2}:
        raise ValueError(f"keypoints: visibility {min(invalid)} is not 0, 1 or 2. Correct it")
    return tuple(read)


def _mask(segmentation: Any, size: tuple[int, int]) -> bytes:
    if not segmentation:
        raise ValueError("has no segmentation, but others have. Draw it, or set the dataset's option `masks: false`")
    try:
        return _encoded(segmentation, size)
    except ValueError as error:
        remedy = "Draw it again, or read the boxes alone by the dataset's option `masks: false`"
        raise ValueError(f"segmentation: {error}. {remedy}") from error


def _encoded(segmentation: Any, size: tuple[int, int]) -> bytes:
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, size)
    polygons = _polygons(segmentation)
    if polygons is None:
        raise ValueError("neither polygons of finite numbers nor run lengths")
    return rle.encode_polygons(polygons, *size)


def _polygons(segmentation: Any) -> list[list[float]] | None:
    if not isinstance(segmentation, list):
        return None
    polygons: list[Any] = [numbers(item) for item in ([segmentation] if numbers(segmentation) else segmentation)]
    return None if None in polygons else polygons


def _run_lengths(segmentation: Entry, size: tuple[int, int]) -> bytes:
    counts, given = segmentation.get("counts"), segmentation.get("size")
    if given != list(size) and numbers(given) != list(size):
        raise ValueError(f"size {given} is not the image's height and width {list(size)}")
    if isinstance(counts, list):
        runs: list[Any] = [number(count) for count in counts]
        return rle.encode_counts(runs, *size)
    if not isinstance(counts, str) or not counts.isascii():
        raise ValueError("counts is neither a list nor COCO's text")
    encoded = counts.encode()
    rle.area(encoded, size)
    return encoded
