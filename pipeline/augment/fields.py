"""Keep per-object fields in sync after a geometric transform; drop objects that left the image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.rle import decode, encode
from pipeline.sample import FOLLOWING, Form, Sample, of_form

Mask = NDArray[np.bool_]
#: area in pixels² below which a box is dropped
SMALLEST = 1.0


def masks(sample: Sample) -> list[Mask]:
    """The objects' masks, H×W each; an empty list if the sample has none."""
    height, width = sample.pixels.shape[:2]
    return [decode(mask, height, width) for mask in sample.masks or ()]


def masks_or_boxes(sample: Sample) -> list[Mask]:
    """The objects' masks or, if there are none, masks of their boxes."""
    if sample.masks is not None:
        return masks(sample)
    boxes = np.zeros((0, 4)) if sample.boxes is None else sample.boxes
    filled = np.zeros((len(boxes), *sample.pixels.shape[:2]), bool)
    for mask, (left, top, right, bottom) in zip(filled, np.rint(boxes).astype(int).clip(0), strict=True):
        mask[top:bottom, left:right] = True
    return list(filled)


def of_masks(sample: Sample, changed: Sequence[Mask]) -> dict[str, Any]:
    """Fields of the objects whose changed mask is not empty; their boxes are the extents of the masks."""
    index = np.array([number for number, mask in enumerate(changed) if mask.any()], np.int64)
    boxes = np.array([extent(changed[number]) for number in index], np.float32).reshape(-1, 4)
    return _select(sample, index) | {"boxes": boxes, "masks": [encode(changed[number]) for number in index]}


def of_boxes(sample: Sample, changed: NDArray[Any], index: NDArray[Any]) -> dict[str, Any]:
    """Fields of the objects at `index`, with their changed boxes."""
    return _select(sample, np.asarray(index, np.int64)) | {"boxes": np.asarray(changed, np.float32).reshape(-1, 4)}


def _select(sample: Sample, index: NDArray[np.int64]) -> dict[str, Any]:
    values = {name: getattr(sample, name) for name in FOLLOWING}
    return {name: value[index] for name, value in values.items() if value is not None}


def clipped(boxes: NDArray[Any], height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes clipped to a height×width image, and the indices of those that remain."""
    inside = np.clip(boxes, 0, [width, height, width, height])
    indices = np.flatnonzero((inside[:, 2:] - inside[:, :2]).prod(axis=1) >= SMALLEST)
    return inside[indices].astype(np.float32), indices


def moved(before: NDArray[np.float32], positions: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Keypoints N×K×3 at N×K×2 new positions; those outside the image of this shape become unlabelled and 0."""
    keypoints = np.concatenate([positions, before[..., 2:]], axis=2).astype(np.float32)
    height, width = shape[:2]
    inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] <= (width, height))).all(axis=2)
    return np.where((inside & (keypoints[..., 2] > 0))[..., None], keypoints, np.float32(0))


def given(sample: Sample, *forms: Form) -> dict[str, Any]:
    """The sample's annotations of some forms, without the boxes and masks of objects."""
    values = {name: getattr(sample, name) for name in of_form(*forms)}
    return {name: value for name, value in values.items() if value is not None}


def extent(mask: Mask) -> tuple[int, int, int, int]:
    """The smallest box around a mask, xyxy."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
