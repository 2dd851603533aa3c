"""Scale: the image enlarged or shrunk about its centre, both sides by one random factor."""

import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, RandomHomography, about_centre, within


def build(*, limit: float = 0.1, p: float = 1.0) -> RandomHomography:
    """Factor uniform in 1 ± limit."""
    within(0, 0.9, limit=limit)

    def sample(generator: np.random.Generator, height: int, width: int) -> Matrix:
        factor = generator.uniform(1 - limit, 1 + limit)
        return about_centre((factor, 0), (0, factor), height, width)

    return RandomHomography(sample, p)
