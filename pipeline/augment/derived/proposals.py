"""Region proposals of selective search (geometry/selective_search.py), computed ahead of training and evaluation.

They depend on the image alone: serving runs selective search per image, and latency includes it. In training they move
like boxes, which is right where boxes stay axis-aligned: under the TRANSFORMS below.
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
TRANSFORMS = (
    "horizontal_flip",
    "vertical_flip",
    "shift",
    "scale",
    "noise",
    "mean_intensity",
    "contrast",
    "hue_saturation",
    "blur",
    "jpeg",
    "cutout",
)


def build(
    *, mode: str = "fast", least: float = 20.0, limit: int = 2000, side: int = 500
) -> Callable[[Sample], NDArray[np.float32]]:
    """P×4 boxes in stored pixels, the most promising first.

    mode: `fast` or `quality` · least: minimum width and height of a box in pixels of the searched image · limit:
    maximum number of boxes · side: images with a longer side are scaled to it before the search.
    """
    if mode not in MODES:
        raise ValueError(plugins.unknown("mode", mode, MODES))
    if least < 1 or limit < 1 or side < 1:
        raise ValueError(f"least is {least}, limit {limit}, side {side}; each is at least 1")

    def proposals(sample: Sample) -> NDArray[np.float32]:
        height, width = sample.pixels.shape[:2]
        scale = min(1.0, side / max(height, width))
        high, wide = (max(1, round(scale * length)) for length in (height, width))
        searched = sample.pixels if scale == 1 else images.resize(sample.pixels, high, wide)
        proposed = selective_search(searched, mode, least=least)[:limit]
        return boxes.scale(proposed, height / high, width / wide)

    return proposals
