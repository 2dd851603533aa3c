"""Scale: the image enlarged or shrunk about its centre, both sides by one random factor."""

import albumentations as A

from pipeline.augment.transforms._affine import affine


def build(*, limit: float = 0.1, p: float = 1.0) -> A.Affine:
    """Factor uniform in 1 ± limit."""
    return affine(p, scale=(1.0 - limit, 1.0 + limit), keep_ratio=True)
