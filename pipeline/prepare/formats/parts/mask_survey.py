"""What the values in the masks of a folder can mean: class ids, levels, colors, smoothed edges, numbers of objects.

Nothing is guessed so that objects vanish: where values can't be told apart, the answer is a Doubt with the reason, and
with options if these read the masks.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.layout import Pairs
from pipeline.prepare.formats.parts.mask_values import MaskError, levels_of, picture, values_of
from pipeline.sample import IGNORE

#: how many values may be taken for classes if no names are given
MOST_GUESSED = 32
#: values after which the survey ends: a photograph mistaken for a mask has millions
MOST_VALUES = 10_000
#: masks whose pixels are compared with their neighbours, which takes as long as reading the mask
LOOKED_AT = 200
#: ids of classes are below this where 255 is taken for "ignore"
SMALL_IDS = 64
#: pixels in the middle of their own value, as a fraction of a value's pixels: smoothed edges have fewer
INSIDE = 0.1
#: values that must occur at edges only, before they are taken for smoothing
LEAST_SMOOTHED = 3
#: distance from black or white up to which a level is taken for a trace of smoothing
NEAR_END = 40
#: objects in a mask before masks are taken for numbered objects, and how many such numbers must differ
LEAST_NUMBERED, LEAST_COUNTS = 4, 3
#: the border that PASCAL VOC ignores
VOC_VOID = 0xE0E0C0
THRESHOLD = 128


@dataclass(slots=True)
class Survey:
    """What the masks hold.

    pixels: of each value · looked_at, inside: those of the first masks, and how many of them equal their four
    neighbours · masks: the values of each mask · tried: masks that were opened.
    """

    pixels: Counter[int] = field(default_factory=Counter)
    looked_at: Counter[int] = field(default_factory=Counter)
    inside: Counter[int] = field(default_factory=Counter)
    masks: list[frozenset[int]] = field(default_factory=list)

    tried: int = 0

    def add(self, levels: Iterator[NDArray[np.int64]]) -> None:
        """Count the values of a mask, given some rows at a time; one with a MaskError counts for nothing."""
        pixels, inside = Counter[int](), Counter[int]()
        self.tried += 1
        with contextlib.suppress(MaskError):  # reported when the mask is read
            for rows in levels:
                pixels.update(values_of(rows))
                if self.tried <= LOOKED_AT:
                    inside.update(values_of(_middles(rows)))
            self.pixels.update(pixels)
            if self.tried <= LOOKED_AT:
                self.looked_at.update(pixels)
                self.inside.update(inside)
            self.masks.append(frozenset(pixels))

    def solid(self) -> list[int]:
        """Values that fill more than edges."""
        return sorted(value for value in self.pixels if self.inside[value] >= INSIDE * self.looked_at[value])

    def is_smoothed(self) -> bool:
        """Whether most values occur at edges only."""
        edges = len(self.pixels) - len(self.solid())
        return edges >= LEAST_SMOOTHED and 2 * edges >= len(self.pixels)

    def counts_objects(self) -> bool:
        """Whether each mask has the values 1, 2, …, n, with another n in others: objects that are numbered."""
        counts = {len(values - {0, IGNORE}) for values in self.masks}
        counted = all(values - {0, IGNORE} == {*range(1, len(values - {0, IGNORE}) + 1)} for values in self.masks)
        return counted and max(counts) >= LEAST_NUMBERED and len(counts) >= LEAST_COUNTS


def guess(root: Path, pairs: Pairs) -> dict[str, Any] | Doubt:
    """The options `classes` and `values` for the values in the masks; {} if they are too many."""
    for coloured in (False, True):
        survey = _survey(root, pairs, coloured)
        if 2 * len(survey.masks) < survey.tried or not survey.masks:
            continue
        answer = (_of_colors if coloured else _of_levels)(survey)
        if answer is not None:
            return answer
    return {}


def is_void(values: list[int]) -> bool:
    """Whether 255 means "ignore" beside these other values, by the custom of label maps: small ids, more than one."""
    return len(values) > 1 and max(values) < SMALL_IDS


def _survey(root: Path, pairs: Pairs, coloured: bool) -> Survey:
    survey = Survey()
    for pair in pairs:
        survey.add(_levels(root, *pair, coloured=coloured))
        if len(survey.pixels) > MOST_VALUES:
            break
    return survey


def _middles(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The values of pixels that equal their four neighbours; of all pixels where there is no room for neighbours."""
    if min(levels.shape) < 3:
        return levels
    middle = levels[1:-1, 1:-1]
    same = (middle == levels[:-2, 1:-1]) & (middle == levels[2:, 1:-1])
    same &= (middle == levels[1:-1, :-2]) & (middle == levels[1:-1, 2:])
    return middle[same]


def _levels(root: Path, image: PurePosixPath, mask: PurePosixPath, *, coloured: bool) -> Iterator[NDArray[np.int64]]:
    """The mask is opened when the first rows are asked for."""
    yield from levels_of(picture(root, image, mask, coloured), coloured)


def _of_levels(survey: Survey) -> dict[str, Any] | Doubt | None:
    values = sorted(survey.pixels)
    if (smoothed := _smoothed_levels(survey)) is not None:
        return smoothed
    if sum(value > IGNORE for value in values) >= LEAST_SMOOTHED or survey.counts_objects():
        return Doubt(
            f"its masks have {len(values)} values up to {values[-1]}, as numbers of single objects. A label map has "
            "one value per class, and at most 255 classes. Export class ids, or the objects as COCO; "
            "if they are classes, name them by the options `classes` and `values`."
        )
    others = [value for value in values if value != IGNORE]
    return _classes(survey, others if is_void(others) else values, "class-{}", lambda value: value)


def _smoothed_levels(survey: Survey) -> Doubt | None:
    """A doubt that proposes a threshold, if nearly all pixels are near the darkest or the brightest level."""
    values = sorted(survey.pixels)
    low, high = values[0], values[-1]
    ends = sum(count for value, count in survey.pixels.items() if min(value - low, high - value) <= NEAR_END)
    far = [value for value in survey.solid() if min(value - low, high - value) > NEAR_END]
    if len(values) < 2 + LEAST_SMOOTHED or high > IGNORE or high - low < THRESHOLD or far:
        return None
    if not (survey.is_smoothed() or len(values) > MOST_GUESSED) or 2 * ends < survey.pixels.total():
        return None
    reason = (
        f"its masks have {len(values)} gray levels from {low} to {high}, most of them at edges only: smoothing or "
        f"compression made them, so they are not classes. With the option `threshold: {THRESHOLD}` they are two "
        "classes, from that level on and below it."
    )
    return Doubt(reason, {"threshold": THRESHOLD})


def _of_colors(survey: Survey) -> dict[str, Any] | Doubt | None:
    others = set(survey.pixels) - {VOC_VOID}
    if len(others) == len(survey.pixels) or len(others) < 2 or not others <= _voc_colors():
        return _classes(survey, sorted(survey.pixels), "colour-{:06x}", _parts)
    options = _classes(survey, sorted(others), "colour-{:06x}", _parts)
    return options if options is None or isinstance(options, Doubt) else options | {"ignore": _parts(VOC_VOID)}


def _classes(
    survey: Survey, values: list[int], name: str, written: Callable[[int], Any]
) -> dict[str, Any] | Doubt | None:
    """A class per value; a doubt if most values occur at edges only; None if they are too few or too many."""
    smoothed = survey.is_smoothed()
    classes = sorted(set(values) & set(survey.solid())) if smoothed else values
    if not 1 < len(classes) <= MOST_GUESSED:
        return None
    names = ["background" if value == 0 else name.format(value) for value in classes]
    counted = classes == list(range(len(classes)))
    options: dict[str, Any] = {"classes": names} | ({} if counted else {"values": list(map(written, classes))})
    if not smoothed:
        return options
    reason = (
        f"its masks have {len(survey.pixels):,} values, of which {len(classes)} fill more than edges: smoothing or "
        f"compression made the others. With these {len(classes)} as classes, pixels of all others are ignored."
    )
    return Doubt(reason, options | {"ignore_others": True})


def _parts(code: int) -> list[int]:
    return [code >> 16, code >> 8 & 255, code & 255]


def _voc_colors() -> set[int]:
    """The first colors of PASCAL VOC's palette: bits of the id, spread over red, green and blue from the top."""
    colors = set()
    for number in range(SMALL_IDS):
        channels = [sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
        colors.add(channels[0] << 16 | channels[1] << 8 | channels[2])
    return colors
