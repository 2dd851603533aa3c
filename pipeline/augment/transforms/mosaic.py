"""Mosaic: parts of four images around a random point (YOLOv4, Bochkovskiy et al. 2020, https://arxiv.org/abs/2004.10934).

A part shows its image at no more than the input's own resolution, so inputs of the job's size serve. Boxes, masks,
keypoints and label maps are cut and moved with the parts; an image's label is dropped, since there are four.
"""

import dataclasses
from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.augment import fields
from pipeline.augment.fit import cut
from pipeline.augment.transforms.parts.affine import within
from pipeline.augment.transforms.parts.joining import Joining
from pipeline.augment.transforms.parts.objects import joined_fields
from pipeline.sample import PER_OBJECT, TABLE, Form, Sample, resized

OTHERS = 3
TASKS = ("detection", "instance_segmentation", "keypoint_detection", "segmentation")

#: upper left corner of each part: y, x
Corners = Sequence[tuple[int, int]]


def build(*, margin: float = 0.25, scale: float = 0.5, p: float = 0.5) -> Joining:
    """The point is at least `margin` of each side from the border; a part is shown at scale `scale` to 1."""
    within(0.05, 0.5, margin=margin)
    within(0.1, 1, scale=scale)

    def join(samples: Sequence[Sample], generator: np.random.Generator) -> Sample:
        shape = height, width = samples[0].pixels.shape[:2]
        row, column = (round(side * generator.uniform(margin, 1 - margin)) for side in shape)
        corners = [(0, 0), (0, column), (row, 0), (row, column)]
        sizes = [(row if top == 0 else height - row, column if left == 0 else width - column) for top, left in corners]
        parts = [_part(sample, *size, scale, generator) for sample, size in zip(samples, sizes, strict=True)]
        return dataclasses.replace(_joined(parts, corners, (height, width)), size=samples[0].size)

    return Joining(join, OTHERS, p)


def _part(sample: Sample, height: int, width: int, least: float, generator: np.random.Generator) -> Sample:
    """A random part of a sample as height×width pixels, at a random scale from `least` at which it fills them."""
    whole = sample.pixels.shape[:2]
    scale = generator.uniform(max(least, height / whole[0], width / whole[1]), 1)
    down, across = (min(side, ceil(part / scale)) for side, part in zip(whole, (height, width), strict=True))
    top, left = (int(generator.integers(length + 1)) for length in (whole[0] - down, whole[1] - across))
    return resized(cut(sample, (left, top, left + across, top + down)), height, width)


def _joined(parts: Sequence[Sample], corners: Corners, shape: tuple[int, int]) -> Sample:
    """The parts in one image, with the annotations that all of them have."""
    moved = [_moved(part, top, left) for part, (top, left) in zip(parts, corners, strict=True)]
    changes: dict[str, Any] = {"image": _canvas([part.pixels for part in parts], corners, shape)}
    for name, row in TABLE.items():
        values = [getattr(part, name) for part in moved]
        if any(value is None for value in values):
            changes[name] = None
        elif row.form is Form.BOXES:
            changes[name] = np.concatenate(values)
        elif row.form in (Form.IDS, Form.WEIGHTS):
            changes[name] = _canvas(values, corners, shape)
    changes |= dict.fromkeys(PER_OBJECT) if changes["boxes"] is None else joined_fields(moved)
    sample = dataclasses.replace(parts[0], **changes | {"label": None})
    if sample.masks is None:
        return sample
    return dataclasses.replace(sample, **fields.of_masks(sample, _masks(parts, corners, shape)))


def _moved(part: Sample, top: int, left: int) -> Sample:
    """The part with its boxes and keypoints where they lie in the whole image."""
    changes: dict[str, Any] = {}
    for name, row in TABLE.items():
        value = getattr(part, name)
        if value is not None and row.form is Form.BOXES:
            changes[name] = value + np.array([left, top, left, top], np.float32)
        elif value is not None and row.form is Form.KEYPOINTS:
            changes[name] = np.where(value[..., 2:] > 0, value + np.array([left, top, 0], np.float32), value)
    return dataclasses.replace(part, **changes)


def _canvas(values: Sequence[NDArray[Any]], corners: Corners, shape: tuple[int, int]) -> NDArray[Any]:
    """Arrays that fill an image, each at its corner."""
    canvas = np.empty((*shape, *values[0].shape[2:]), values[0].dtype)
    for value, (top, left) in zip(values, corners, strict=True):
        canvas[top : top + value.shape[0], left : left + value.shape[1]] = value
    return canvas


def _masks(parts: Sequence[Sample], corners: Corners, shape: tuple[int, int]) -> list[fields.Mask]:
    """The masks of all parts, as masks of the whole image."""
    masks = []
    for part, (top, left) in zip(parts, corners, strict=True):
        height, width = part.pixels.shape[:2]
        for mask in fields.masks(part):
            masks.append(np.zeros(shape, bool))
            masks[-1][top : top + height, left : left + width] = mask
    return masks
