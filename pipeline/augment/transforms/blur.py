"""Blur: a Gaussian filter of random width (SimCLR, Chen et al. 2020, https://arxiv.org/abs/2002.05709)."""

from collections.abc import Sequence

import albumentations as A

from pipeline.augment.transforms.parts.ranges import in_range


def build(*, sigma: Sequence[float] = (0.1, 2.0), p: float = 0.5) -> A.GaussianBlur:
    """Standard deviation uniform in `sigma`, in pixels of the input."""
    in_range(0, 100, sigma=sigma)
    return A.GaussianBlur(blur_limit=0, sigma_limit=(sigma[0], sigma[1]), p=p)
