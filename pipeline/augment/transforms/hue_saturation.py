"""Hue and saturation: the hue turned and the saturation multiplied (Howard 2013, https://arxiv.org/abs/1312.5402).

A gray image stays as it is.
"""

import albumentations as A

from pipeline.augment.transforms.parts.affine import within


def build(*, hue: float = 0.03, saturation: float = 0.3, p: float = 0.5) -> A.ColorJitter:
    """Turn uniform in ±hue, where 1 is the whole circle of colors; factor uniform in 1 ± saturation."""
    within(0, 0.5, hue=hue)
    within(0, 1, saturation=saturation)
    factor = (1 - saturation, 1 + saturation)
    return A.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=factor, hue=(-hue, hue), p=p)
