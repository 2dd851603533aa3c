"""Crop: a random part of the image at the image's full size (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842).

At area 0.08 and ratio 4/3 it is the crop that GoogLeNet and ResNet were trained with.
"""

from math import exp, log, sqrt

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, Motion, within


def build(*, area: float = 0.4, ratio: float = 4 / 3, p: float = 1.0) -> Motion:
    """Share of the area uniform in area..1; the aspect changed by a factor in 1/ratio..ratio, log-uniform."""
    within(0.01, 1, area=area)
    within(1, 10, ratio=ratio)

    def draw(generator: np.random.Generator, height: int, width: int) -> Matrix:
        share = generator.uniform(area, 1)
        aspect = exp(generator.uniform(-log(ratio), log(ratio)))
        across, down = min(1, sqrt(share * aspect)), min(1, sqrt(share / aspect))
        left, top = generator.uniform(0, (1 - across, 1 - down))
        return np.array([[1 / across, 0, -left * width / across], [0, 1 / down, -top * height / down], [0, 0, 1]])

    return Motion(draw, p)
