"""Contrast: distances from the mean stretched or squeezed by a random factor."""

import albumentations as A


def build(*, limit: float = 0.2, p: float = 0.5) -> A.RandomBrightnessContrast:
    """Factor uniform in 1 ± limit."""
    return A.RandomBrightnessContrast(brightness_limit=0.0, contrast_limit=limit, p=p)
