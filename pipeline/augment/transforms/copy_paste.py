"""Copy-paste: objects of a second image pasted by their masks (Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177).

The second image is scaled and shifted before, as in the paper's scale jittering; the first by transforms of its own
that are written before this one, which both go through. Masks and boxes of objects that are covered in part shrink to
what is still seen, those that are covered wholly are dropped, and covered keypoints become hidden. Every sample needs
masks; `overlay` pastes boxes, too.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.augment.transforms import Mixing
from pipeline.augment.transforms.parts.affine import Matrix, within
from pipeline.augment.transforms.parts.objects import pasted_objects
from pipeline.augment.transforms.parts.ranges import in_range
from pipeline.augment.warp import warped
from pipeline.errors import UserError
from pipeline.sample import Sample

OTHERS = 1
TASKS = ("detection", "instance_segmentation", "keypoint_detection", "segmentation")
NEEDS = ("boxes", "masks")


class _CopyPaste:
    def __init__(self, fraction: float, scale: Sequence[float], p: float) -> None:
        self.fraction, self.scale, self.p = fraction, scale, p

    def apply(self, sample: Sample, other: Sample, generator: np.random.Generator, classes: int) -> Sample:
        """Paste each object of `other` with probability `fraction`, all moved by one scale and shift."""
        for item in (sample, other):
            if item.boxes is None or item.masks is None:
                why = f"copy_paste pastes objects by their masks, but {item.id} has none"
                raise UserError(f"{why}. Use overlay, which pastes boxes and ids of label maps.")
        moved = warped(other, self._jitter(generator, *sample.pixels.shape[:2]))
        count = 0 if moved.boxes is None else len(moved.boxes)
        return pasted_objects(sample, moved, np.flatnonzero(generator.random(count) < self.fraction))

    def _jitter(self, generator: np.random.Generator, height: int, width: int) -> Matrix:
        """A scaled image that lies within the first if it is smaller, and else covers it."""
        factor = generator.uniform(self.scale[0], self.scale[1])
        across, down = generator.uniform(0, 1, 2) * (1 - factor)
        return np.array([[factor, 0, across * width], [0, factor, down * height], [0, 0, 1]])


def build(*, fraction: float = 0.5, scale: Sequence[float] = (0.5, 1.5), p: float = 0.5) -> Mixing:
    """Each object with probability `fraction`; factor uniform in `scale`, which is 0.1 to 2 in the paper."""
    within(0, 1, fraction=fraction, p=p)
    in_range(0.05, 10, scale=scale)
    return _CopyPaste(fraction, scale, p)
