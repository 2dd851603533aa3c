"""Perspective: each corner of the image moved independently."""

import cv2
import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, RandomHomography, within


def build(*, limit: float = 0.1, p: float = 0.5) -> RandomHomography:
    """Each corner moved in x and y, uniform in ±limit of the side."""
    within(0, 0.2, limit=limit)  # from 0.25 on the quadrangle may not be convex

    def sample(generator: np.random.Generator, height: int, width: int) -> Matrix:
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        moved = corners + generator.uniform(-limit, limit, (4, 2)) * (width, height)
        return np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), np.float64)

    return RandomHomography(sample, p)
