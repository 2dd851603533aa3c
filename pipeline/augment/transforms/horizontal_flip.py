"""Horizontal flip: left and right exchanged."""

import albumentations as A


def build(*, p: float = 0.5) -> A.HorizontalFlip:
    """With probability p."""
    return A.HorizontalFlip(p=p)
