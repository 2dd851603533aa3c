"""TrivialAugment: one random operation of random strength (Müller and Hutter 2021, https://arxiv.org/abs/2103.10158).

Of RandAugment's operations and ranges, which the paper calls TA (RA); annotations follow.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.augment.transforms.parts.operations import Operation, RandomOperations
from pipeline.augment.transforms.parts.rand_operations import OPERATIONS, chosen


def build(*, operations: Sequence[str] = (), p: float = 1.0) -> RandomOperations:
    """Magnitude uniform in 0 to 10, in a random direction; of the 14 operations of RandAugment or of `operations`."""
    names = chosen(operations)

    def sample(generator: np.random.Generator, height: int, width: int) -> list[Operation]:
        return [OPERATIONS[names[int(generator.integers(len(names)))]](generator.uniform(-1, 1))]

    return RandomOperations(sample, p)
