"""Drawn scenes: scikit-learn's handwritten digits, enlarged, turned and tinted, over crops of its two photographs.

Digits: E. Alpaydin and C. Kaynak, https://doi.org/10.24432/C50P49. Photographs: china.jpg by D. Roy, flower.jpg by
T. Mokhov, CC BY 2.0, both carried by scikit-learn. No digit image and no photo region is in two splits, a scene
depends on the seed, its split and its number alone, and only integer arithmetic decides its pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import images
from pipeline.errors import UserError
from pipeline.sample import SPLITS

#: columns of both photographs, 640 wide, that a split's backgrounds are cut from
STRIPS = {"train": (0, 384), "val": (384, 512), "test": (512, 640)}
#: of 1,797 digits, in the order that the seed gives: where a split's part begins and ends
PARTS = {"train": (0, 1200), "val": (1200, 1400), "test": (1400, 1797)}
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
CLASSES = tuple("0123456789")
#: where a stroke ends
POINTS = ("top", "bottom", "left", "right")
LEVELS = 16
DIGIT_SIDES = 22, 48
CROP_SIDES = 48, 128
MAX_DEGREES = 15
#: share of a digit that must stay visible
VISIBLE_PERCENT = 40
TRIES = 20
#: side at which a digit is turned
LARGE = 120
#: ink up to here is left out when a digit is enlarged
FAINT = 60
#: from here on a stroke's pixel belongs to its digit's mask
SOLID = 128

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Thing:
    """A digit in a scene: which of scikit-learn's it is, what it says, its visible pixels, how many it had
    before others covered some, and where its stroke ended before that: row and column by POINTS."""

    digit: int
    label: int
    mask: Mask
    whole: int
    ends: tuple[tuple[int, int], ...]

    @property
    def box(self) -> NDArray[np.float32]:
        """x_min, y_min, x_max, y_max of the smallest box around the visible pixels."""
        top, left, bottom, right = _bounds(self.mask)
        return np.array([left, top, right, bottom], np.float32)

    @property
    def points(self) -> NDArray[np.float32]:
        """K×3: x and y of the centres of the stroke's ends; 2 where the pixel is visible, 1 where it is covered."""
        found = [(column + 0.5, row + 0.5, 1 + self.mask[row, column]) for row, column in self.ends]
        return np.array(found, np.float32)


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is in it, first drawn first; crop: the photograph, left, top and side of its background."""

    split: str
    number: int
    pixels: Pixels
    things: list[Thing]
    crop: tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Material:
    """What scenes are made of."""

    digits: Pixels
    labels: list[int]
    photographs: dict[str, Pixels]


def scenes(counts: dict[str, int], *, side: int, most: int, seed: int) -> Iterator[Scene]:
    """Square scenes with 1 to `most` digits each, as many as `counts` says by split."""
    for name, value, least in [*((split, counts[split], 1) for split in SPLITS), ("seed", seed, 0)]:
        if not isinstance(value, int) or value < least:
            raise UserError(f"option {name}: {value!r} is no whole number from {least} on. Correct it.")
    material = _material()
    parts = partition(seed)
    for place, split in enumerate(SPLITS):
        for number in range(counts[split]):
            rng = np.random.default_rng([seed, place, number])
            yield _scene(material, parts[split], split, number, side, most, rng)


def partition(seed: int) -> dict[str, NDArray[np.int64]]:
    """Which of scikit-learn's digits each split may use."""
    order = np.random.default_rng(seed).permutation(PARTS["test"][1])
    return {split: order[first:last] for split, (first, last) in PARTS.items()}


def _material() -> Material:
    from sklearn.datasets import load_digits, load_sample_image  # seconds to import: only where scenes are made

    digits = load_digits()
    levels = (digits.images.astype(np.int64) * 255 // LEVELS).astype(np.uint8)
    return Material(levels, digits.target.tolist(), {name: load_sample_image(name) for name in PHOTOGRAPHS})


def _scene(
    material: Material, allowed: NDArray[np.int64], split: str, number: int, side: int, most: int, rng: Rng
) -> Scene:
    canvas, crop = _background(material, split, side, rng)
    things: list[Thing] = []
    wanted = int(rng.integers(1, most + 1))
    for _ in range(wanted * TRIES):
        digit = int(rng.choice(allowed))
        stroke = _stroke(material.digits[digit], rng)
        top, left = (int(rng.integers(0, side - length + 1)) for length in stroke.shape)
        place = slice(top, top + stroke.shape[0]), slice(left, left + stroke.shape[1])
        mask = np.zeros((side, side), bool)
        mask[place] = stroke >= SOLID
        below = [replace(thing, mask=thing.mask & ~mask) for thing in things]
        if all(100 * int(thing.mask.sum()) >= VISIBLE_PERCENT * thing.whole for thing in below):
            _paint(canvas[place], stroke, rng)
            things = [*below, Thing(digit, material.labels[digit], mask, int(mask.sum()), _ends(mask))]
        if len(things) == wanted:
            break
    return Scene(split, number, canvas, things, crop)


def _background(material: Material, split: str, side: int, rng: Rng) -> tuple[Pixels, tuple[str, int, int, int]]:
    """A square crop of the split's strip, perhaps mirrored, paler than the photograph, and where it was cut."""
    name = PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))]
    photograph, (first, last) = material.photographs[name], STRIPS[split]
    length = int(rng.integers(CROP_SIDES[0], CROP_SIDES[1] + 1))
    left = int(rng.integers(first, last - length + 1))
    top = int(rng.integers(0, len(photograph) - length + 1))
    crop = images.resize(photograph[top : top + length, left : left + length], side, side)
    if rng.integers(2):
        crop = crop[:, ::-1]
    contrast = int(rng.integers(30, 91))
    gray = int(rng.integers(40, 216))
    faded = (crop.astype(np.int64) * contrast + gray * (100 - contrast)) // 100
    return faded.astype(np.uint8), (name, left, top, length)


def _stroke(digit: Pixels, rng: Rng) -> Pixels:
    """A digit's ink, 0..255, enlarged and turned; cut to where it is solid."""
    length = int(rng.integers(DIGIT_SIDES[0], DIGIT_SIDES[1] + 1))
    degrees = int(rng.integers(-MAX_DEGREES, MAX_DEGREES + 1))
    padded = np.pad(digit, 2)  # room for the corners
    blurred = np.asarray(Image.fromarray(padded).resize((LARGE, LARGE), Image.Resampling.BICUBIC), np.int64)
    ink = Image.fromarray(np.clip(3 * (blurred - FAINT), 0, 255).astype(np.uint8))  # a stroke with an edge
    ink = ink.rotate(degrees, Image.Resampling.NEAREST)  # nearest: in Pillow the one turn without fractions
    side = length * len(padded) // len(digit)
    levels = images.resize(np.asarray(ink, np.uint8), side, side)
    top, left, bottom, right = _bounds(levels >= SOLID)
    return levels[top:bottom, left:right]


def _bounds(mask: Mask) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of what is True, the last two exclusive."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _ends(mask: Mask) -> tuple[tuple[int, int], ...]:
    """Row and column of the highest, lowest, leftmost and rightmost pixel; of several in a line the middle one."""
    rows, columns = np.nonzero(mask)

    def middle(along: NDArray[np.int64], across: NDArray[np.int64], end: np.int64) -> tuple[int, int]:
        line = np.sort(across[along == end])
        return int(end), int(line[len(line) // 2])

    sides = [middle(columns, rows, end)[::-1] for end in (columns.min(), columns.max())]
    return middle(rows, columns, rows.min()), middle(rows, columns, rows.max()), sides[0], sides[1]


def _paint(canvas: Pixels, stroke: Pixels, rng: Rng) -> None:
    """Lay a stroke over a part of the picture, bright where it is dark and dark where it is bright."""
    solid = stroke >= SOLID
    level = int(images.luminance(canvas)[solid].mean())
    low, high = (0, max(30, level - 90)) if level >= 128 else (min(225, level + 90), 255)
    ink = rng.integers(low, high + 1, 3)
    share = stroke[..., None].astype(np.int64)
    canvas[...] = (canvas * (255 - share) + ink * share + 127) // 255
