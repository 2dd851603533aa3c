"""mixup: the weighted mean of two images and of their labels (Zhang et al. 2018, https://arxiv.org/abs/1710.09412).

For classification alone: boxes and label maps have no mean.
"""

import dataclasses

import numpy as np

from pipeline.augment.transforms import Mixing
from pipeline.augment.transforms.parts.affine import within
from pipeline.augment.transforms.parts.soft_labels import GONE, mixed
from pipeline.sample import Sample

OTHERS = 1
TASKS = ("classification",)


class _Mixup:
    def __init__(self, alpha: float, p: float) -> None:
        self.alpha, self.p = alpha, p

    def apply(self, sample: Sample, other: Sample, generator: np.random.Generator, classes: int) -> Sample:
        """λ·sample + (1 - λ)·other, for pixels and labels alike."""
        fraction = float(generator.beta(self.alpha, self.alpha))
        label = mixed(sample, other, fraction, classes, "mixup")
        pixels = fraction * sample.pixels.astype(np.float32) + (1 - fraction) * other.pixels
        return dataclasses.replace(sample, image=np.rint(pixels).astype(np.uint8), label=label, **GONE)


def build(*, alpha: float = 0.2, p: float = 1.0) -> Mixing:
    """λ from Beta(alpha, alpha): the smaller alpha, the nearer to one of the two."""
    within(0.001, 1000, alpha=alpha)
    within(0, 1, p=p)
    return _Mixup(alpha, p)
