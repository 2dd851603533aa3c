"""Shift: the image moved by a random fraction of its sides, in x and y independently."""

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, RandomHomography, within


def build(*, limit: float = 0.1, p: float = 1.0) -> RandomHomography:
    """Uniform in ±limit of the side, by fractions of a pixel."""
    within(0, 1, limit=limit)

    def sample(generator: np.random.Generator, height: int, width: int) -> Matrix:
        across, down = generator.uniform(-limit, limit, 2)
        return np.array([[1, 0, across * width], [0, 1, down * height], [0, 0, 1]])

    return RandomHomography(sample, p)
