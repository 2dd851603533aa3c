"""A sample whose every annotation marks the same square, so that what moves can be compared."""

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import rle
from pipeline.images import Pixels, resize
from pipeline.sample import Sample

SIDE = 48
#: where the marked square lies: xyxy
SQUARE = (12, 8, 22, 18)
NUMBER = 7


def marked(
    square: tuple[int, int, int, int] = SQUARE, *, with_masks: bool = False, name: str = "marked", color: bool = False
) -> Sample:
    """A bright square on dark ground, with its box, mask, id in the label map, weight and proposal.

    color: both have a hue, without which some transforms of colors change nothing.
    """
    left, top, right, bottom = square
    inside = np.zeros((SIDE, SIDE), bool)
    inside[top:bottom, left:right] = True
    hue = np.array([25, 0, -30] if color else [0, 0, 0])
    image = np.where(inside[..., None], 220 + hue, 60 + hue).astype(np.uint8)
    image.flags.writeable = False  # as it comes from a memory map
    box = np.array([square], np.float32)
    return Sample(
        name,
        image,
        group="g",
        boxes=box,
        labels=np.array([NUMBER]),
        crowd=np.array([True]),
        difficult=np.array([False]),
        semantic=np.where(inside, np.uint8(NUMBER), np.uint8(0)),
        weight=np.where(inside, np.float32(5), np.float32(1)),
        proposals=np.concatenate([box, box]),
        masks=[rle.encode(inside)] if with_masks else None,
    )


def wide(height: int = 60, width: int = 90, square: tuple[int, int, int, int] = (40, 20, 56, 36)) -> Sample:
    """A bright square near to the centre of an image that is no square, with every annotation and two keypoints."""
    left, top, right, bottom = square
    inside = np.zeros((height, width), np.bool_)
    inside[top:bottom, left:right] = True
    box = np.array([square], np.float32)
    return Sample(
        "wide",
        np.where(inside[..., None], 220, 20).repeat(3, axis=2).astype(np.uint8),
        size=(2 * height, 2 * width),
        label=1,
        boxes=box,
        labels=np.array([1]),
        masks=[rle.encode(inside)],
        crowd=np.array([False]),
        difficult=np.array([True]),
        keypoints=np.array([[[left, top, 2], [right, bottom, 1], [0, 0, 0]]], np.float32),
        semantic=inside.astype(np.uint8),
        weight=np.where(inside, 5, 1).astype(np.float32),
        proposals=box,
    )


def picture(side: int = 64, seed: int = 0) -> Pixels:
    """Smooth colors with a little noise."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(20, 236, (8, 8, 3), np.uint8)
    noise = generator.integers(-8, 9, (side, side, 3))
    return (resize(coarse, side, side) + noise).clip(0, 255).astype(np.uint8)


def bright(sample: Sample) -> NDArray[np.bool_]:
    """Where the square is seen."""
    return np.asarray(np.median(sample.pixels, axis=2) > 140)


def extent(where: NDArray[np.bool_]) -> list[int]:
    """xyxy of what is true."""
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
