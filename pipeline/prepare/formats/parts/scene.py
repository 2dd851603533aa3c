"""Generated scenes: scikit-learn's handwritten digits, scaled, rotated and tinted, over crops of its two photographs.

Digits: E. Alpaydin and C. Kaynak, https://doi.org/10.24432/C50P49. Photographs: china.jpg by D. Roy, flower.jpg by
T. Mokhov, CC BY 2.0, both part of scikit-learn. No digit image and no photo region is in two splits; a scene depends
only on the seed, its split and its number, and its pixels on integer arithmetic only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import images
from pipeline.errors import UserError
from pipeline.sample import SPLITS

#: columns of both photographs (640 wide) from which a split's backgrounds are cropped
STRIPS = {"train": (0, 384), "val": (384, 512), "test": (512, 640)}
#: begin and end of each split in the 1,797 digits, shuffled by the seed
PARTS = {"train": (0, 1200), "val": (1200, 1400), "test": (1400, 1797)}
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
CLASSES = tuple("0123456789")
#: ends of the stroke
KEYPOINTS = ("top", "bottom", "left", "right")
LEVELS = 16
DIGIT_SIDES = 22, 48
CROP_SIDES = 48, 128
MAX_DEGREES = 15
#: percentage of a digit's pixels that must stay visible
VISIBLE_PERCENT = 40
TRIES = 20
#: side at which a digit is rotated
LARGE = 120
#: ink up to this value is dropped when a digit is scaled
FAINT = 60
#: ink from this value on belongs to the digit's mask
SOLID = 128

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class SceneDigit:
    """A digit in a scene.

    digit: its index in scikit-learn's digits · mask: its visible pixels · whole: their number before other digits
    covered some · ends: row and column of the ends of its stroke before that, in the order of KEYPOINTS.
    """

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
    def keypoints(self) -> NDArray[np.float32]:
        """K×3: x and y of the ends of the stroke; visibility 2, or 1 where the pixel is covered."""
        ends = [(column + 0.5, row + 0.5, 1 + self.mask[row, column]) for row, column in self.ends]
        return np.array(ends, np.float32)


@dataclass(frozen=True, slots=True)
class Scene:
    """An image and its digits in the order of painting; crop: photograph, left, top and side of the background."""

    split: str
    number: int
    pixels: Pixels
    digits: list[SceneDigit]
    crop: tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Material:
    """The sources of scenes."""

    digits: Pixels
    labels: list[int]
    photographs: dict[str, Pixels]


def scenes(counts: dict[str, int], *, side: int, most: int, seed: int) -> Iterator[Scene]:
    """Square scenes with 1 to `most` digits each; `counts` is their number by split."""
    for name, value, least in [*((split, counts[split], 1) for split in SPLITS), ("seed", seed, 0)]:
        if not isinstance(value, int) or value < least:
            raise UserError(f"option {name}: {value!r} is not an integer of at least {least}. Correct it.")
    material = _material()
    parts = partition(seed)
    for split_number, split in enumerate(SPLITS):
        for number in range(counts[split]):
            rng = np.random.default_rng([seed, split_number, number])
            yield _scene(material, parts[split], split, number, side, most, rng)


def partition(seed: int) -> dict[str, NDArray[np.int64]]:
    """Indices of the digits that each split may use."""
    order = np.random.default_rng(seed).permutation(PARTS["test"][1])
    return {split: order[first:last] for split, (first, last) in PARTS.items()}


def _material() -> Material:
    from sklearn.datasets import load_digits, load_sample_image  # takes seconds to import

    digits = load_digits()
    levels = (digits.images.astype(np.int64) * 255 // LEVELS).astype(np.uint8)
    return Material(levels, digits.target.tolist(), {name: load_sample_image(name) for name in PHOTOGRAPHS})


def _scene(
    material: Material, allowed: NDArray[np.int64], split: str, number: int, side: int, most: int, rng: Rng
) -> Scene:
    canvas, crop = _background(material, split, side, rng)
    digits: list[SceneDigit] = []
    wanted = int(rng.integers(1, most + 1))
    for _ in range(wanted * TRIES):
        index = int(rng.choice(allowed))
        stroke = _stroke(material.digits[index], rng)
        top, left = (int(rng.integers(0, side - length + 1)) for length in stroke.shape)
        region = slice(top, top + stroke.shape[0]), slice(left, left + stroke.shape[1])
        mask = np.zeros((side, side), bool)
        mask[region] = stroke >= SOLID
        below = [replace(other, mask=other.mask & ~mask) for other in digits]
        if all(100 * int(other.mask.sum()) >= VISIBLE_PERCENT * other.whole for other in below):
            _paint(canvas[region], stroke, rng)
            digits = [*below, SceneDigit(index, material.labels[index], mask, int(mask.sum()), _ends(mask))]
        if len(digits) == wanted:
            break
    return Scene(split, number, canvas, digits, crop)


def _background(material: Material, split: str, side: int, rng: Rng) -> tuple[Pixels, tuple[str, int, int, int]]:
    """A square crop of the split's strip, with a random flip and reduced contrast, and its position."""
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
    """A digit's ink, 0..255, scaled and rotated, cropped to its mask."""
    length = int(rng.integers(DIGIT_SIDES[0], DIGIT_SIDES[1] + 1))
    degrees = int(rng.integers(-MAX_DEGREES, MAX_DEGREES + 1))
    padded = np.pad(digit, 2)  # room for the corners
    blurred = np.asarray(Image.fromarray(padded).resize((LARGE, LARGE), Image.Resampling.BICUBIC), np.int64)
    ink = Image.fromarray(np.clip(3 * (blurred - FAINT), 0, 255).astype(np.uint8))  # gives the stroke a sharp edge
    ink = ink.rotate(degrees, Image.Resampling.NEAREST)  # nearest: Pillow's only rotation in integers
    side = length * len(padded) // len(digit)
    levels = images.resize(np.asarray(ink, np.uint8), side, side)
    top, left, bottom, right = _bounds(levels >= SOLID)
    return levels[top:bottom, left:right]


def _bounds(mask: Mask) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of a mask, the last two exclusive."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _ends(mask: Mask) -> tuple[tuple[int, int], ...]:
    """Row and column of the highest, lowest, leftmost and rightmost pixel; the middle one of several."""
    rows, columns = np.nonzero(mask)

    def middle(along: NDArray[np.int64], across: NDArray[np.int64], end: np.int64) -> tuple[int, int]:
        line = np.sort(across[along == end])
        return int(end), int(line[len(line) // 2])

    sides = [middle(columns, rows, end)[::-1] for end in (columns.min(), columns.max())]
    return middle(rows, columns, rows.min()), middle(rows, columns, rows.max()), sides[0], sides[1]


def _paint(canvas: Pixels, stroke: Pixels, rng: Rng) -> None:
    """Paint a stroke over a region: bright where it is dark, and dark where it is bright."""
    solid = stroke >= SOLID
    level = int(images.luminance(canvas)[solid].mean())
    low, high = (0, max(30, level - 90)) if level >= 128 else (min(225, level + 90), 255)
    ink = rng.integers(low, high + 1, 3)
    alpha = stroke[..., None].astype(np.int64)
    canvas[...] = (canvas * (255 - alpha) + ink * alpha + 127) // 255
