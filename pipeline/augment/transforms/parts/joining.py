"""Transforms that join several samples to one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.augment.transforms.parts.affine import within
from pipeline.sample import Sample


@dataclass(frozen=True)
class Joining:
    """With probability p, what `join(samples, generator)` makes of a sample and `others` more, all of its size."""

    join: Callable[[Sequence[Sample], np.random.Generator], Sample]
    others: int
    p: float

    def __post_init__(self) -> None:
        within(0, 1, p=self.p)
