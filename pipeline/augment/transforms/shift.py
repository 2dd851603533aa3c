"""Shift: the image moved by a random share of its sides, in x and y alike."""

import albumentations as A

from pipeline.augment.transforms._affine import affine


def build(*, limit: float = 0.1, p: float = 1.0) -> A.Affine:
    """Uniform in ±limit of the side."""
    return affine(p, translate_percent={"x": (-limit, limit), "y": (-limit, limit)})
