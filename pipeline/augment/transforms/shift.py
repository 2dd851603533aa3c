"""Shift: the image moved by a random share of its sides, in x and y independently."""

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, Motion, within


def build(*, limit: float = 0.1, p: float = 1.0) -> Motion:
    """Uniform in ±limit of the side, by fractions of a pixel."""
    within(0, 1, limit=limit)

    def draw(generator: np.random.Generator, height: int, width: int) -> Matrix:
        across, down = generator.uniform(-limit, limit, 2)
        return np.array([[1, 0, across * width], [0, 1, down * height], [0, 0, 1]])

    return Motion(draw, p)
