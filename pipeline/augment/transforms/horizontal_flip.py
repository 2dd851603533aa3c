"""Horizontal flip: left and right exchanged."""

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, RandomHomography, about_centre


def build(*, p: float = 0.5) -> RandomHomography:
    """With probability p."""

    def sample(_: np.random.Generator, height: int, width: int) -> Matrix:
        return about_centre((-1, 0), (0, 1), height, width)

    return RandomHomography(sample, p)
