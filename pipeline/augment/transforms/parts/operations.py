"""Random operations: homographies, and functions of the pixels that keep every pixel where it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.augment.transforms.parts.affine import RandomHomography, within
from pipeline.images import Pixels

#: the pixels of an image → those of the changed image, of the same shape
PixelFunction = Callable[[Pixels], Pixels]
Operation = RandomHomography | PixelFunction


@dataclass(frozen=True)
class RandomOperations:
    """With probability p, the operations that `sample(generator, height, width)` gives, one after another."""

    sample: Callable[[np.random.Generator, int, int], Sequence[Operation]]
    p: float

    def __post_init__(self) -> None:
        within(0, 1, p=self.p)
