"""Mean intensity: one random number added to every pixel and channel."""

import albumentations as A


def build(*, limit: float = 0.1, p: float = 0.5) -> A.RandomBrightnessContrast:
    """Uniform in ±limit, where 1 is the full range; values out of range are clipped."""
    return A.RandomBrightnessContrast(brightness_limit=(-limit, limit), contrast_limit=(0.0, 0.0), p=p)
