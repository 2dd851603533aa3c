"""Mean intensity: the same random amount added to every pixel and channel, so that the mean is shifted."""

import albumentations as A


def build(*, limit: float = 0.1, p: float = 0.5) -> A.RandomBrightnessContrast:
    """Uniform in ±limit, where 1 is the full range; what leaves the range is clipped."""
    return A.RandomBrightnessContrast(brightness_limit=(-limit, limit), contrast_limit=(0.0, 0.0), p=p)
