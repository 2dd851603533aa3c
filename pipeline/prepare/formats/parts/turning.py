"""Annotations of an image as its file stores it, turned as EXIF turns the image.

Cameras store the sensor's pixels with a note how to hold them (EXIF's orientation, 1 to 8). Some tools show the pixels
as stored, and their annotations are for these; prepare decodes images upright.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import rle
from pipeline.prepare.formats.parts.objects import AnnotatedObject

#: orientation → where a point x, y of a stored image of w×h is in the upright one
POINTS: dict[int, Callable[[float, float, int, int], tuple[float, float]]] = {
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}
#: orientation → the upright array of a stored one
ARRAYS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda array: np.rot90(array, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda array: np.rot90(array, -1),
    7: lambda array: np.rot90(array, 2).T,
    8: np.rot90,
}


def turn(item: AnnotatedObject, size: tuple[int, int], orientation: int) -> AnnotatedObject:
    """The object in the upright image; size: height and width of the stored one."""
    if orientation not in POINTS:
        return item
    height, width = size
    move = POINTS[orientation]
    x_min, y_min, x_max, y_max = item.box
    corners = [move(x_min, y_min, width, height), move(x_max, y_max, width, height)]
    (left, right), (top, bottom) = (sorted(values) for values in zip(*corners, strict=True))
    keypoints: list[float] = []
    for x, y, visibility in zip(*(item.keypoints[start::3] for start in range(3)), strict=True):
        keypoints += [*(move(x, y, width, height) if visibility else (x, y)), visibility]
    mask = item.mask and rle.encode(ARRAYS[orientation](rle.decode(item.mask, height, width)))
    return replace(item, box=(left, top, right, bottom), mask=mask, keypoints=tuple(keypoints))
