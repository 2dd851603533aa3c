"""Objects of a sample whose places changed: who is still there, and each field of those who are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.rle import decode, encode
from pipeline.sample import Sample

Shape = NDArray[np.bool_]
#: pixels² below which a box counts as gone
SMALLEST = 1.0


def masks(sample: Sample) -> list[Shape]:
    """The objects' masks, H×W; none where the sample has none."""
    height, width = sample.pixels.shape[:2]
    return [decode(mask, height, width) for mask in sample.masks or ()]


def shapes(sample: Sample) -> list[Shape]:
    """The objects' masks, or, where there are none, their boxes filled."""
    if sample.masks is not None:
        return masks(sample)
    boxes = np.zeros((0, 4)) if sample.boxes is None else sample.boxes
    filled = np.zeros((len(boxes), *sample.pixels.shape[:2]), bool)
    for shape, (left, top, right, bottom) in zip(filled, np.rint(boxes).astype(int).clip(0), strict=True):
        shape[top:bottom, left:right] = True
    return list(filled)


def of_masks(sample: Sample, changed: Sequence[Shape]) -> dict[str, Any]:
    """Fields of the objects whose changed mask has a pixel left; a box is its mask's extent."""
    places = np.array([place for place, mask in enumerate(changed) if mask.any()], np.int64)
    boxes = np.array([extent(changed[place]) for place in places], np.float32).reshape(-1, 4)
    return _chosen(sample, places) | {"boxes": boxes, "masks": [encode(changed[place]) for place in places]}


def of_boxes(sample: Sample, changed: NDArray[Any], places: NDArray[Any]) -> dict[str, Any]:
    """Fields of the objects at `places`, whose changed boxes these are."""
    return _chosen(sample, np.asarray(places, np.int64)) | {"boxes": np.asarray(changed, np.float32).reshape(-1, 4)}


def _chosen(sample: Sample, places: NDArray[np.int64]) -> dict[str, Any]:
    values = {name: getattr(sample, name) for name in ("labels", "crowd", "difficult", "points")}
    return {name: value[places] for name, value in values.items() if value is not None}


def moved(sample: Sample, places: NDArray[Any]) -> NDArray[np.float32]:
    """The sample's points at N×K×2 new places; those outside the image are no longer labelled, at 0."""
    assert sample.points is not None
    points = np.concatenate([places, sample.points[..., 2:]], axis=2).astype(np.float32)
    height, width = sample.pixels.shape[:2]
    inside = ((points[..., :2] >= 0) & (points[..., :2] <= (width, height))).all(axis=2)
    return np.where((inside & (points[..., 2] > 0))[..., None], points, np.float32(0))


def extent(mask: Shape) -> tuple[int, int, int, int]:
    """The box around what is true, xyxy."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
