"""Perspective: the plane seen from elsewhere; each corner moved by itself."""

import cv2
import numpy as np

from pipeline.augment.transforms.parts.affine import Matrix, Motion, within


def build(*, limit: float = 0.1, p: float = 0.5) -> Motion:
    """Each corner moved in x and y, uniform in ±limit of the side."""
    within(0, 0.2, limit=limit)  # from 0.25 on the corners need not stay convex

    def draw(generator: np.random.Generator, height: int, width: int) -> Matrix:
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        moved = corners + generator.uniform(-limit, limit, (4, 2)) * (width, height)
        return np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), np.float64)

    return Motion(draw, p)
