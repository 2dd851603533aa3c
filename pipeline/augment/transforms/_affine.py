"""The affine map behind the geometric transforms, with one rule for what lies outside the image."""

from typing import Any

import albumentations as A

from pipeline.sample import IGNORE


def affine(p: float, **motion: Any) -> A.Affine:
    """Bilinear for pixels, nearest for ids; outside is black, and `ignore` in label maps."""
    return A.Affine(**motion, fill=0, fill_mask=IGNORE, p=p)
