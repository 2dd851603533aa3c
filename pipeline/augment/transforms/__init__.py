"""One file, one transform: `build(*, options)` gives one of three things, each applied with its probability `p`.

- a `RandomHomography` (`parts/affine.py`). Consecutive ones are multiplied and cost one warp.
- a transform of albumentations. A DualTransform moves pixels: it must keep the image's size and fill a label map
  with 255 (ignore) where pixels come from outside; any other changes the image alone.
- with `OTHERS = 1` in the file, a `Mixing`: it mixes in a second sample, after the policy's previous transforms.
  `TASKS`, optional, names the tasks that can be trained with the result.

All random numbers come from the generator that is passed, which also seeds albumentations.
"""

from typing import Protocol

import numpy as np

from pipeline.sample import Sample


class Mixing(Protocol):
    """A transform that mixes a second sample into the first."""

    p: float

    def apply(self, sample: Sample, other: Sample, generator: np.random.Generator, classes: int) -> Sample:
        """The mixed sample; `other` has the size of `sample`, and `classes` is the length of soft labels."""
