"""Cutout: a random rectangle filled (Random Erasing, Zhong et al. 2017, https://arxiv.org/abs/1708.04896).

Cutout (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552) fills a square: `ratio: [1, 1]`. As in both papers,
the label and the boxes stay; so do masks, keypoints and the label map, which a network then tells from what is around.
"""

from collections.abc import Sequence
from math import exp, log, sqrt

import numpy as np

from pipeline.augment.transforms.parts.affine import within
from pipeline.augment.transforms.parts.operations import PixelFunction, RandomOperations
from pipeline.augment.transforms.parts.ranges import in_range
from pipeline.images import Pixels


def build(
    *, area: Sequence[float] = (0.02, 0.33), ratio: Sequence[float] = (0.3, 3.3), fill: int = 128, p: float = 0.5
) -> RandomOperations:
    """Fraction of the area uniform in `area`; width over height log-uniform in `ratio`, as far as it fits."""
    in_range(0.0001, 0.9, area=area)
    in_range(0.1, 10, ratio=ratio)
    within(0, 255, fill=fill)

    def sample(generator: np.random.Generator, height: int, width: int) -> list[PixelFunction]:
        fraction = generator.uniform(area[0], area[1])
        aspect = exp(generator.uniform(log(ratio[0]), log(ratio[1])))
        aspect = min(max(aspect, fraction * width / height), width / (fraction * height))
        across = min(width, max(1, round(sqrt(fraction * height * width * aspect))))
        down = min(height, max(1, round(sqrt(fraction * height * width / aspect))))
        left, top = (int(generator.integers(length + 1)) for length in (width - across, height - down))

        def erase(pixels: Pixels) -> Pixels:
            erased = pixels.copy()
            erased[top : top + down, left : left + across] = fill
            return erased

        return [erase]

    return RandomOperations(sample, p)
