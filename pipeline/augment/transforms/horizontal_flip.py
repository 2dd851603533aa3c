"""Horizontal flip: left and right exchanged."""

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, Motion, about_centre


def build(*, p: float = 0.5) -> Motion:
    """With probability p."""

    def draw(_: np.random.Generator, height: int, width: int) -> Matrix:
        return about_centre((-1, 0), (0, 1), height, width)

    return Motion(draw, p)
