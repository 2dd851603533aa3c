"""CutMix: a rectangle of a second image pasted in, labels by area (Yun et al. 2019, https://arxiv.org/abs/1905.04899).

For classification alone. The label uses the area that was really pasted: the rectangle is clipped at the border.
"""

import dataclasses
from math import sqrt

import numpy as np

from pipeline.augment.transforms import Mixing
from pipeline.augment.transforms.parts.affine import within
from pipeline.augment.transforms.parts.soft_labels import GONE, mixed
from pipeline.sample import Sample

OTHERS = 1
TASKS = ("classification",)


class _Cutmix:
    def __init__(self, alpha: float, p: float) -> None:
        self.alpha, self.p = alpha, p

    def apply(self, sample: Sample, other: Sample, generator: np.random.Generator, classes: int) -> Sample:
        """A rectangle of the image's aspect around a uniform centre, of area 1 - λ before it is clipped."""
        height, width = sample.pixels.shape[:2]
        side = sqrt(1 - generator.beta(self.alpha, self.alpha))
        across, down = generator.uniform(0, (width, height))
        left, right = (round(float(np.clip(across + half * side * width, 0, width))) for half in (-0.5, 0.5))
        top, bottom = (round(float(np.clip(down + half * side * height, 0, height))) for half in (-0.5, 0.5))
        pixels = sample.pixels.copy()
        pixels[top:bottom, left:right] = other.pixels[top:bottom, left:right]
        fraction = 1 - (bottom - top) * (right - left) / (height * width)
        label = mixed(sample, other, fraction, classes, "cutmix")
        return dataclasses.replace(sample, image=pixels, label=label, **GONE)


def build(*, alpha: float = 1.0, p: float = 0.5) -> Mixing:
    """λ, the fraction of the image that stays, from Beta(alpha, alpha)."""
    within(0.001, 1000, alpha=alpha)
    within(0, 1, p=p)
    return _Cutmix(alpha, p)
