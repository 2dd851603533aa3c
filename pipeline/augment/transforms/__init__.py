"""One file, one transform; parts/ holds shared code. pipeline/contracts/transform.py is the contract.

`build(*, p, options)` gives a `RandomHomography` (consecutive ones are multiplied and cost one warp), a transform of
albumentations, a `RandomOperations`, which samples homographies and functions of pixels, or, with `OTHERS` in the file,
a `Mixing` or `Joining`, to which other samples are given after the policy's previous transforms, or, with
`BEFORE_FIT = True`, a `RandomWindow`, which chooses the part of the stored image that becomes the input. All random
numbers come from the generator that is passed, which also seeds albumentations.
"""

from typing import Protocol

import numpy as np

from pipeline.sample import Sample


class Mixing(Protocol):
    """A transform that mixes a second sample into the first."""

    p: float

    def apply(self, sample: Sample, other: Sample, generator: np.random.Generator, classes: int) -> Sample:
        """The mixed sample; `other` has the size of `sample`, and `classes` is the length of soft labels."""
