"""What speaks against reading a table's labels as classes: boxes, several labels of an image, numbers to predict."""

import re
from collections.abc import Collection, Iterator

#: columns that hold a box together, without case, blanks and marks between words
BOXES = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("minx", "miny", "maxx", "maxy"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("left", "top", "width", "height"),
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
    ("xcenter", "ycenter", "width", "height"),
    ("cx", "cy", "w", "h"),
    ("bboxx", "bboxy", "bboxwidth", "bboxheight"),
    ("bbox",),
    ("boundingbox",),
)
#: marks between several labels in one cell, beside blanks
MARKS = r"[,;|/+&]"
#: numbers that are no classes: so many different ones, and so large a part of all images
MANY_NUMBERS, MANY_OF_ALL = 10, 0.3
#: the option that settles a doubt
AS_CLASSES = "`as_classes: true`"
INSIST = f"set the option {AS_CLASSES} if these are classes"


def box_columns(header: dict[str, str]) -> list[str]:
    """The names of the columns that hold boxes; header: plain name → name."""
    return next(([header[name] for name in names] for names in BOXES if header.keys() >= set(names)), [])


def numeric(cell: str) -> float | None:
    """The cell's number, if it is one."""
    try:
        return float(cell)
    except ValueError:
        return None


def doubts(labels: Collection[str], images: int) -> Iterator[str]:
    """Reasons, with remedies, why different labels of so many images may not be classes."""
    if numbers := _quantities(labels, images):
        shown = ", ".join(numbers[:3])
        reason = f"its labels are {len(numbers):,} different numbers of {images:,} images ({shown}, …)"
        yield f"{reason}: regression is not supported. Give each image a class; or {INSIST}"
    elif several := _composed(labels):
        reason = f"{len(several):,} labels are made of others, such as {several[0]!r}"
        yield f"{reason}: several labels per image are not supported. Give each image one; or {INSIST}"


def _quantities(labels: Collection[str], images: int) -> list[str]:
    """The labels, if they are numbers that measure rather than name: many, and fractions or nearly one per image."""
    values = [numeric(label) for label in labels]
    if None in values or len(labels) <= MANY_NUMBERS:
        return []
    fractions = any(value is not None and value != value // 1 for value in values)
    return sorted(labels) if fractions or len(labels) > MANY_OF_ALL * images else []


def _composed(labels: Collection[str]) -> list[str]:
    """Labels that are several: lists in brackets, words that are labels on their own, or few words in many mixtures."""
    lists = [label for label in labels if re.fullmatch(r"[\[({].*,.*[\])}]", label)]
    if lists:
        return sorted(lists)
    for marks, lengths, fraction in ((MARKS, 2, 1.0), (r"\s+", 3, 0.5)):
        parts = {label: [part.strip() for part in re.split(marks, label)] for label in labels}
        several = sorted(label for label in labels if len(parts[label]) > 1)
        if composed := [label for label in several if all(part in parts for part in parts[label])]:
            return composed
        vocabulary = {part for words in parts.values() for part in words}
        is_mixed = len({len(words) for words in parts.values()}) >= lengths
        if is_mixed and len(several) > 1 and len(vocabulary) <= fraction * len(labels):
            return several
    return []
