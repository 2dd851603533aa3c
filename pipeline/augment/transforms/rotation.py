"""Rotation: the image turned about its centre by a random angle."""

from math import cos, radians, sin

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, RandomHomography, about_centre, within


def build(*, degrees: float = 15.0, p: float = 1.0) -> RandomHomography:
    """Uniform in ±degrees."""
    within(0, 180, degrees=degrees)

    def sample(generator: np.random.Generator, height: int, width: int) -> Matrix:
        angle = radians(generator.uniform(-degrees, degrees))
        return about_centre((cos(angle), -sin(angle)), (sin(angle), cos(angle)), height, width)

    return RandomHomography(sample, p)
