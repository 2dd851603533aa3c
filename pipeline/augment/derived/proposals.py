"""Region proposals of selective search (geometry/selective_search.py), computed ahead of training and evaluation.

They are of the image alone, so a model that is asked about a new image computes them then, and its latency holds that
time. In training they move as boxes do, which is right where an upright box stays one: under the TRANSFORMS below.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline import images, plugins
from pipeline.geometry import boxes
from pipeline.geometry.selective_search import MODES, selective_search
from pipeline.sample import Sample

FIELD = "proposals"
SPLITS = ("train", "val", "test")
TRANSFORMS = ("horizontal_flip", "vertical_flip", "shift", "scale", "noise", "mean_intensity", "contrast")
MANY = 200


def build(
    *, mode: str = "fast", least: float = 20.0, limit: int = 2000, side: int = 500
) -> Callable[[Sample], NDArray[np.float32]]:
    """P×4 boxes in stored pixels, those to try first in front.

    mode: `fast` or `quality` · least: pixels that a box is wide and high at least · limit: the most boxes · side: an
    image with a longer one is searched at that size, which is what `least` counts in.
    """
    if mode not in MODES:
        raise ValueError(plugins.unknown("mode", mode, MODES))
    if least < 1 or limit < 1 or side < 1:
        raise ValueError(f"least is {least}, limit {limit}, side {side}; each is at least 1")

    def proposals(sample: Sample) -> NDArray[np.float32]:
        height, width = sample.pixels.shape[:2]
        share = min(1.0, side / max(height, width))
        high, wide = (max(1, round(share * length)) for length in (height, width))
        searched = sample.pixels if share == 1 else images.resize(sample.pixels, high, wide)
        found = selective_search(searched, mode, least=least)[:limit]
        return boxes.scale(found, height / high, width / wide)

    return proposals
