"""Shear along x and y, each by a random angle, about the centre."""

from math import radians, tan

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, RandomHomography, about_centre, within


def build(*, degrees: float = 10.0, p: float = 1.0) -> RandomHomography:
    """Both angles uniform in ±degrees."""
    within(0, 40, degrees=degrees)  # at 45 degrees in both directions the image would collapse to a line

    def sample(generator: np.random.Generator, height: int, width: int) -> Matrix:
        across, down = (tan(radians(angle)) for angle in generator.uniform(-degrees, degrees, 2))
        return about_centre((1, across), (down, 1), height, width)

    return RandomHomography(sample, p)
