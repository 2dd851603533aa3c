"""RandAugment: some random operations, all of one strength (Cubuk et al. 2020, https://arxiv.org/abs/1909.13719).

Annotations follow the operations that move pixels, so all serve every task. Leave out of `operations` what changes an
image's meaning, as `color` where classes differ in color.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.augment.transforms.parts.affine import within
from pipeline.augment.transforms.parts.operations import Operation, RandomOperations
from pipeline.augment.transforms.parts.rand_operations import OPERATIONS, chosen


def build(
    *, number: int = 2, magnitude: float = 9.0, operations: Sequence[str] = (), p: float = 1.0
) -> RandomOperations:
    """`number` operations of magnitude 0 to 10, in a random direction, of the paper's 14 or of `operations` alone."""
    within(1, 14, number=number)
    if number != int(number):
        raise ValueError(f"number is {number}, not a whole number")
    within(0, 10, magnitude=magnitude)
    names = chosen(operations)

    def sample(generator: np.random.Generator, height: int, width: int) -> list[Operation]:
        strengths = generator.choice((-1, 1), number) * magnitude / 10
        return [OPERATIONS[names[int(generator.integers(len(names)))]](float(strength)) for strength in strengths]

    return RandomOperations(sample, p)
