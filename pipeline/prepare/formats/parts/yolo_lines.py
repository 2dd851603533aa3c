"""Label files of YOLO: one line per object, `class x_center y_center width height` or `class x y x y x y …`."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.geometry import rle
from pipeline.prepare.formats.parts.files import Tree
from pipeline.prepare.formats.parts.objects import AnnotatedObject, text
from pipeline.sample import Fault

#: by how much exporters' rounding may exceed 0 and 1
SLACK = 0.01
#: label files that are read to recognise the format
LOOKED_INTO = 20


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a label file: the class's number as it is written; fractions of the image, 4 for a box, 6 or more."""

    number: int
    label: int
    fractions: tuple[float, ...]


def label_file(image: PurePosixPath, there: Collection[PurePosixPath] = ()) -> PurePosixPath:
    """The path of an image's label file: the last folder `images` of its path becomes `labels`.

    there: the files of the dataset. A label file beside the image is taken if there is none in `labels`.
    """
    beside = image.with_suffix(".txt")
    parts = list(beside.parts)
    for index in reversed(range(len(parts) - 1)):
        if parts[index] == "images":
            usual = PurePosixPath(*parts[:index], "labels", *parts[index + 1 :])
            return beside if usual not in there and beside in there else usual
    return beside


def read_lines(root: Path, name: PurePosixPath) -> tuple[list[Line], list[Fault]]:
    """Lines of a label file, and its faults."""
    try:
        rows = text(root / name).splitlines()
    except ValueError as error:
        return [], [Fault(str(name), f"{error}.")]
    lines, faults = [], []
    for number, row in enumerate(rows, start=1):
        try:
            if row.strip():
                lines.append(_line(number, row.split()))
        except ValueError as error:
            faults.append(Fault(f"{name}: line {number}", f"{error}."))
    return lines, faults


def look_like_labels(tree: Tree, names: list[PurePosixPath]) -> bool:
    """Whether most of a few text files that are not empty hold lines of YOLO."""
    read = [read_lines(tree.root, name) for name in names[:LOOKED_INTO]]
    good = sum(bool(lines) and not faults for lines, faults in read)
    return 2 * good > sum(bool(lines or faults) for lines, faults in read)


def to_object(line: Line, label: int, size: tuple[int, int], with_mask: bool) -> AnnotatedObject:
    """The object of a line, in pixels of an image of this height and width."""
    height, width = size
    if len(line.fractions) == 4:
        x, y, across, down = line.fractions
        box = (x - across / 2) * width, (y - down / 2) * height, (x + across / 2) * width, (y + down / 2) * height
        return AnnotatedObject(label, box)
    xs, ys = [x * width for x in line.fractions[0::2]], [y * height for y in line.fractions[1::2]]
    mask = None
    if with_mask:
        polygon = [value for point in zip(xs, ys, strict=True) for value in point]
        mask = rle.encode_polygons([polygon], height, width)
    return AnnotatedObject(label, (min(xs), min(ys), max(xs), max(ys)), mask)


def _line(number: int, words: list[str]) -> Line:
    try:
        label, *fractions = (float(word.strip("\"'")) for word in words)
    except ValueError as error:
        raise ValueError(f"{' '.join(words[:6])!r} are not all numbers. Correct it") from error
    if not all(map(math.isfinite, (label, *fractions))):
        raise ValueError(f"{' '.join(words[:6])!r} are not all finite. Correct it")
    if len(fractions) == 5:
        raise ValueError("6 numbers, as in predictions with a confidence. Remove the last, or label by hand")
    if len(fractions) != 4 and (len(fractions) < 6 or len(fractions) % 2):
        raise ValueError(f"{len(words)} numbers, neither class and box (5) nor class and polygon (7, 9, …). Correct it")
    if label < 0 or label != int(label):
        raise ValueError(f"class {words[0]} is not an integer of at least 0. Correct it")
    low, high = min(fractions), max(fractions)
    if high > 1 + SLACK or low < -SLACK:
        hint = "If these are pixels, divide x by the image's width and y by its height" if high > 2 else "Correct it"
        raise ValueError(f"{low if low < -SLACK else high:g} is not a fraction of the image (0 to 1). {hint}")
    if len(fractions) == 4 and min(fractions[2:]) <= 0:
        raise ValueError(f"width {fractions[2]:g}, height {fractions[3]:g}: no area. Correct or remove it")
    return Line(number, int(label), tuple(fractions))
