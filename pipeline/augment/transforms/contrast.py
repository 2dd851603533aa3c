"""Contrast: distances from the mean multiplied by a random factor."""

import albumentations as A


def build(*, limit: float = 0.2, p: float = 0.5) -> A.ColorJitter:
    """Factor uniform in 1 ± limit."""
    factor = (1.0 - limit, 1.0 + limit)
    return A.ColorJitter(brightness=(1.0, 1.0), contrast=factor, saturation=(1.0, 1.0), hue=(0.0, 0.0), p=p)
