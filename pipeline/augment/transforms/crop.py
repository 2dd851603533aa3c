"""Crop: a random part of the image, scaled to the image's size (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842).

GoogLeNet and ResNet were trained with area 0.08 and ratio 4/3.
"""

from math import exp, log, sqrt

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, RandomHomography, within


def build(*, area: float = 0.4, ratio: float = 4 / 3, p: float = 1.0) -> RandomHomography:
    """Fraction of the area uniform in area..1; the aspect ratio times a log-uniform factor in 1/ratio..ratio."""
    within(0.01, 1, area=area)
    within(1, 10, ratio=ratio)

    def sample(generator: np.random.Generator, height: int, width: int) -> Matrix:
        fraction = generator.uniform(area, 1)
        aspect = exp(generator.uniform(-log(ratio), log(ratio)))
        across, down = min(1, sqrt(fraction * aspect)), min(1, sqrt(fraction / aspect))
        left, top = generator.uniform(0, (1 - across, 1 - down))
        return np.array([[1 / across, 0, -left * width / across], [0, 1 / down, -top * height / down], [0, 0, 1]])

    return RandomHomography(sample, p)
