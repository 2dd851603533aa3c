"""Rotation: the image turned about its centre by a random angle."""

import albumentations as A

from pipeline.augment.transforms._affine import affine


def build(*, degrees: float = 15.0, p: float = 1.0) -> A.Affine:
    """Uniform in ±degrees."""
    return affine(p, rotate=(-degrees, degrees))
