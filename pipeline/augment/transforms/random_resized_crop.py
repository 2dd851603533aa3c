"""Random resized crop: a random part of the image becomes the input (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842).

The part is cut from the stored image, or from a copy that is so large that none of its parts is enlarged, and scaled
to the input, whatever the job's `fit`. It comes first in its list. `crop` cuts from the input instead.
"""

from collections.abc import Sequence
from math import exp, log, sqrt

import numpy as np

from pipeline.augment.transforms.parts.affine import within
from pipeline.augment.transforms.parts.window import RandomWindow, Window

BEFORE_FIT = True
#: how often a window is sampled that may be too long for the image
TRIES = 10


def build(
    *, scale: Sequence[float] = (0.08, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3), p: float = 1.0
) -> RandomWindow:
    """Fraction of the area uniform in `scale`; width over height, in the image's pixels, log-uniform in `ratio`.

    If no window of ten fits into the image, the largest in the centre whose ratio is in range.
    """
    for name, values, lowest, highest in (("scale", scale, 0.01, 1), ("ratio", ratio, 0.1, 10)):
        if len(values) != 2 or values[0] > values[1]:
            raise ValueError(f"{name} is {values}, not two numbers in ascending order")
        for value in values:
            within(lowest, highest, **{name: value})

    def sample(generator: np.random.Generator, height: int, width: int) -> Window:
        for _ in range(TRIES):
            area = generator.uniform(scale[0], scale[1]) * height * width
            aspect = exp(generator.uniform(log(ratio[0]), log(ratio[1])))
            across, down = round(sqrt(area * aspect)), round(sqrt(area / aspect))
            if 0 < across <= width and 0 < down <= height:
                left, top = (int(generator.integers(length + 1)) for length in (width - across, height - down))
                return left, top, left + across, top + down
        aspect = min(max(width / height, ratio[0]), ratio[1])
        across, down = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
        left, top = (width - across) // 2, (height - down) // 2
        return left, top, left + across, top + down

    return RandomWindow(sample, p, sqrt(scale[0] / max(1, ratio[1], 1 / ratio[0])))
