"""Overlay: the objects of a second image pasted onto the first, or the second image blended in.

An image with a label keeps its label, and the second image is blended in faintly (SamplePairing, Inoue 2018,
https://arxiv.org/abs/1801.02929). Else each object of the second image is pasted with its annotation, with probability
`fraction` (Simple Copy-Paste, Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177); an object without a mask is pasted
as its box. With a label map only, each of its ids is pasted so (ClassMix, Olsson et al. 2021,
https://arxiv.org/abs/2007.07936). Covered annotations are removed; covered keypoints become hidden.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.augment import fields
from pipeline.augment.transforms import Mixing
from pipeline.augment.transforms.parts.affine import within
from pipeline.sample import FOLLOWING, IGNORE, Form, Sample, of_form

OTHERS = 1


class _Overlay:
    def __init__(self, opacity: float, probability: float, p: float) -> None:
        self.opacity, self.probability, self.p = opacity, probability, p

    def apply(self, sample: Sample, other: Sample, generator: np.random.Generator, classes: int) -> Sample:
        """Blend if the image has a label; else paste if both have the same annotations; else return the sample."""
        if sample.label is not None:
            opacity = generator.uniform(0, self.opacity)
            pixels = (1 - opacity) * sample.pixels.astype(np.float32) + opacity * other.pixels
            return dataclasses.replace(sample, image=np.rint(pixels).astype(np.uint8))
        if sample.boxes is not None and other.boxes is not None:
            chosen = np.flatnonzero(generator.random(len(other.boxes)) < self.probability)
            return _with_objects(sample, other, chosen)
        if sample.semantic is not None and other.semantic is not None:
            ids = np.setdiff1d(other.semantic, [IGNORE])
            chosen = ids[generator.random(len(ids)) < self.probability]
            return dataclasses.replace(sample, **_pasted(sample, other, np.isin(other.semantic, chosen)))
        return sample


def _with_objects(sample: Sample, other: Sample, chosen: NDArray[np.int64]) -> Sample:
    below, above = fields.masks_or_boxes(sample), fields.masks_or_boxes(other)
    above = [above[index] for index in chosen]
    region = np.any(above, axis=0) if above else np.zeros(sample.pixels.shape[:2], bool)
    changes = _pasted(sample, other, region)
    if sample.keypoints is not None:
        sample = dataclasses.replace(sample, keypoints=_covered(sample.keypoints, region))
    for name in FOLLOWING:
        first, second = getattr(sample, name), getattr(other, name)
        if first is not None and second is not None:
            changes[name] = np.concatenate([first, second[chosen]])
    both = dataclasses.replace(sample, **changes)
    visible = [mask & ~region for mask in below] + above
    kept = fields.of_masks(both, visible)
    return dataclasses.replace(both, **(kept if sample.masks is not None else kept | {"masks": None}))


def _covered(keypoints: NDArray[np.float32], region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """N×K×3 keypoints; those visible within the region become hidden."""
    height, width = region.shape
    columns, rows = (np.floor(keypoints[..., axis]).astype(int) for axis in (0, 1))
    hidden = region[rows.clip(0, height - 1), columns.clip(0, width - 1)] & (keypoints[..., 2] > 1)
    return np.concatenate([keypoints[..., :2], np.where(hidden, np.float32(1), keypoints[..., 2])[..., None]], axis=2)


def _pasted(sample: Sample, other: Sample, region: NDArray[np.bool_]) -> dict[str, Any]:
    """Pixels, label map and weights, from `other` within the region."""
    changes: dict[str, Any] = {"image": np.where(region[..., None], other.pixels, sample.pixels)}
    for name in of_form(Form.IDS, Form.WEIGHTS):
        first, second = getattr(sample, name), getattr(other, name)
        if first is not None and second is not None:
            changes[name] = np.where(region, second, first)
    return changes


def build(*, opacity: float = 0.3, fraction: float = 0.5, p: float = 0.5) -> Mixing:
    """Blend at an opacity uniform in 0..`opacity`; paste objects or ids with probability `fraction` each."""
    within(0, 1, opacity=opacity, fraction=fraction, p=p)
    return _Overlay(opacity, fraction, p)
