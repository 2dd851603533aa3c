"""Random parts of the stored image, cut from its own pixels before it is scaled to the job's size."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.augment.transforms.parts.affine import within

#: left, top, right and bottom in whole pixels
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class RandomWindow:
    """With probability p, the window that `sample(generator, height, width)` gives becomes the input, not the image.

    least_side: the fraction of the image's short side that the sides of a window have at least, to a pixel's rounding.
    A copy of the image serves instead of it if its short side times this is the input's: no window is enlarged from it.
    """

    sample: Callable[[np.random.Generator, int, int], Window]
    p: float
    least_side: float

    def __post_init__(self) -> None:
        within(0, 1, p=self.p)
