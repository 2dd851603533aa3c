"""One file, one transform: `build(*, options)` gives one of three things, each applied with its probability `p`.

- a `Motion` (`_motion.py`): a random homography. Motions in a row are multiplied and cost one warp.
- a transform of albumentations. A DualTransform moves pixels: it must keep the image's size and give 255
  (ignore) to what of a label map comes from outside; any other changes the image alone.
- with `OTHERS = 1` in the file, a `Mixing`: it superimposes a second sample, which went through the policy's
  transforms so far. `TASKS`, where the file has it, names the tasks that can learn from the result.

All random numbers come from the generator that is handed in, or that albumentations is seeded from.
"""

from typing import Protocol

import numpy as np

from pipeline.sample import Sample


class Mixing(Protocol):
    """What superimposes a second sample."""

    p: float

    def apply(self, sample: Sample, other: Sample, generator: np.random.Generator, classes: int) -> Sample:
        """The two in one; `other` has the size of `sample`, and `classes` is the length of soft labels."""
