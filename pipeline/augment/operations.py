"""Random operations of a policy, which are another list for each sample."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from pipeline.augment.transforms.parts.affine import RandomHomography
from pipeline.augment.transforms.parts.operations import Operation, RandomOperations
from pipeline.augment.warp import Warp
from pipeline.sample import Sample


class Operations:
    """The operations of one transform; consecutive homographies cost one warp. keypoints: names of the keypoints."""

    def __init__(self, operations: RandomOperations, keypoints: Sequence[str] = ()) -> None:
        self.operations, self.keypoints = operations, tuple(keypoints)

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """The sample after the sampled operations."""
        if generator.random() >= self.operations.p:
            return sample
        sampled = self.operations.sample(generator, *sample.pixels.shape[:2])
        for moves, group in itertools.groupby(sampled, _moves):
            if moves:
                homographies = [operation for operation in group if isinstance(operation, RandomHomography)]
                sample = Warp(homographies, self.keypoints)(sample, generator)
                continue
            for operation in group:
                assert not isinstance(operation, RandomHomography)
                sample = dataclasses.replace(sample, image=operation(sample.pixels))
        return sample


def _moves(operation: Operation) -> bool:
    return isinstance(operation, RandomHomography)
