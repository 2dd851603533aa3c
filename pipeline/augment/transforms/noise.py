"""Noise: independent Gaussian noise on every pixel and channel."""

import albumentations as A


def build(*, std: float = 0.05, p: float = 0.5) -> A.GaussNoise:
    """Standard deviation uniform in 0..std, where 1 is the full range."""
    return A.GaussNoise(std_range=(0.0, std), p=p)
