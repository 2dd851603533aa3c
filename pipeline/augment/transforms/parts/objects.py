"""Objects of several samples in one image: pasted onto another's, or side by side."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.augment import fields
from pipeline.sample import FOLLOWING, PER_OBJECT, TABLE, Form, Sample, of_form

#: fields that a sample may lack because all values are 0: no flag is set, no keypoint is labelled
ZERO = (Form.FLAGS, Form.KEYPOINTS)


def pasted_objects(sample: Sample, other: Sample, chosen: NDArray[np.int64]) -> Sample:
    """The sample with some objects of another, by index, pasted onto it: as their masks or, without, as their boxes.

    Masks and boxes below shrink to what is still seen of them; objects that are covered wholly are dropped, and covered
    keypoints become hidden.
    """
    below, above = fields.masks_or_boxes(sample), fields.masks_or_boxes(other)
    above = [above[index] for index in chosen]
    region = np.any(above, axis=0) if above else np.zeros(sample.pixels.shape[:2], bool)
    changes = pasted(sample, other, region)
    if sample.keypoints is not None:
        sample = dataclasses.replace(sample, keypoints=_covered(sample.keypoints, region))
    changes |= joined_fields([sample, _only(other, chosen)])
    both = dataclasses.replace(sample, **changes)
    visible = [mask & ~region for mask in below] + above
    kept = fields.of_masks(both, visible)
    return dataclasses.replace(both, **(kept if sample.masks is not None else kept | {"masks": None}))


def pasted(sample: Sample, other: Sample, region: NDArray[np.bool_]) -> dict[str, Any]:
    """Pixels, label map and weights, from `other` within the region."""
    changes: dict[str, Any] = {"image": np.where(region[..., None], other.pixels, sample.pixels)}
    for name in of_form(Form.IDS, Form.WEIGHTS):
        first, second = getattr(sample, name), getattr(other, name)
        if first is not None and second is not None:
            changes[name] = np.where(region, second, first)
    return changes


def joined_fields(samples: Sequence[Sample]) -> dict[str, Any]:
    """The fields of all objects of some samples with boxes, sample by sample, except boxes and masks."""
    changes: dict[str, Any] = {}
    for name in FOLLOWING:
        values = [getattr(sample, name) for sample in samples]
        given = next((value for value in values if value is not None), None)
        if given is not None and TABLE[name].form in ZERO:
            counts = [0 if sample.boxes is None else len(sample.boxes) for sample in samples]
            empty = [np.zeros((count, *given.shape[1:]), given.dtype) for count in counts]
            values = [zero if value is None else value for value, zero in zip(values, empty, strict=True)]
        changes[name] = None if any(value is None for value in values) else np.concatenate(values)
    return changes


def _only(sample: Sample, chosen: NDArray[np.int64]) -> Sample:
    """The sample with the objects at these indices alone."""
    values = {name: getattr(sample, name) for name in PER_OBJECT if name != "masks"}
    return dataclasses.replace(
        sample, masks=None, **{name: value[chosen] for name, value in values.items() if value is not None}
    )


def _covered(keypoints: NDArray[np.float32], region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """N×K×3 keypoints; those visible within the region become hidden."""
    height, width = region.shape
    columns, rows = (np.floor(keypoints[..., axis]).astype(int) for axis in (0, 1))
    hidden = region[rows.clip(0, height - 1), columns.clip(0, width - 1)] & (keypoints[..., 2] > 1)
    return np.concatenate([keypoints[..., :2], np.where(hidden, np.float32(1), keypoints[..., 2])[..., None]], axis=2)
