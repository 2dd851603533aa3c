"""Border weights of U-Net: w0·exp(-(d1 + d2)² / 2σ²), which is large in the gap between two objects.

d1 and d2 are a pixel's distances to the nearest and the second nearest object, 0 inside one (Ronneberger et al. 2015,
equation 2, https://arxiv.org/abs/1505.04597). The loss adds the paper's w_c, the weight of the pixel's class.
Objects are the sample's masks, or else the connected components of its label map, per class.
"""

from collections.abc import Callable, Iterator
from math import log, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.augment import fields
from pipeline.augment.transforms.parts.affine import within
from pipeline.geometry import distances
from pipeline.sample import IGNORE, Sample

FIELD = "weight"
SPLITS = ("train",)
#: weights below the float32 resolution of 1, the weight of a pixel's class, count as 0
_LEAST = 2.0**-24


def build(
    *, w0: float = 10.0, sigma: float = 5.0, background: int | None = 0
) -> Callable[[Sample], NDArray[np.float32]]:
    """H×W float32 weights; `sigma` px at stored size; background: the id of the label map that is no object, if any."""
    within(0.001, 1000, w0=w0, sigma=sigma)
    reach = int(sigma * sqrt(2 * max(0.0, log(w0 / _LEAST)))) + 1

    def weights(sample: Sample) -> NDArray[np.float32]:
        nearest = np.full((2, *sample.pixels.shape[:2]), np.inf, np.float32)
        for shape in _objects(sample, background):
            left, top, right, bottom = fields.extent(shape)
            window = slice(max(0, top - reach), bottom + reach), slice(max(0, left - reach), right + reach)
            distance = distances.to_mask(shape[window])
            first, second = nearest[(slice(None), *window)]
            np.minimum(second, np.maximum(first, distance), out=second)
            np.minimum(first, distance, out=first)
        return np.asarray(w0 * np.exp(-(nearest.sum(axis=0) ** 2) / (2 * sigma**2)), np.float32)

    return weights


def _objects(sample: Sample, background: int | None) -> Iterator[NDArray[np.bool_]]:
    if sample.masks is not None:
        yield from (mask for mask in fields.masks(sample) if mask.any())
    elif sample.semantic is not None:
        for value in np.setdiff1d(sample.semantic, [IGNORE] if background is None else [IGNORE, background]):
            count, parts = cv2.connectedComponents((sample.semantic == value).astype(np.uint8))
            yield from (parts == part for part in range(1, count))
