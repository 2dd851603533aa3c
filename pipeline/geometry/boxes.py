"""Boxes as arrays: N×4 x_min, y_min, x_max, y_max in pixels, measured from the image's upper left corner.

Coordinates are continuous, as in COCO and torchvision: a box's width is x_max − x_min, and [0, 0, W, H] is the whole
image. IoU is computed as by pycocotools: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32] | NDArray[np.float64]


def area(boxes: Boxes) -> NDArray[np.float64]:
    """N areas; 0 for boxes with no width or height."""
    sides = np.maximum(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def iou(a: Boxes, b: Boxes, crowd: Sequence[bool] | NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """N×M intersection over union; for columns where `b` is a crowd, intersection over the area of `a`."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    intersection = np.maximum(sides, 0).prod(axis=2)
    rest = area(b)[None, :] - intersection
    if crowd is not None:
        rest = np.where(np.asarray(crowd, np.bool_)[None, :], 0, rest)
    union = area(a)[:, None] + rest
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=intersection > 0)


def clip(boxes: Boxes, height: int, width: int) -> NDArray[np.float32]:
    """Clip boxes to a height×width image."""
    return np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)


def scale(boxes: Boxes, down: float, across: float) -> NDArray[np.float32]:
    """Scale boxes with their image, `down` times as high and `across` times as wide."""
    factors: NDArray[Any] = np.array([across, down, across, down], np.float32)
    return (boxes * factors).astype(np.float32)
