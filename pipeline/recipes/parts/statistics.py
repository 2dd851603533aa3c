"""What first jobs depend on, from the train split alone."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import Facts
from pipeline.shards import Shards


@dataclass(frozen=True)
class TrainStatistics:
    """Number of train images, channels, median side, and box sides relative to the image's longer one.

    crowded: boxes of the image that has most · unevenness: images of the most frequent class for one of the rarest.
    """

    images: int
    channels: int
    side: int
    boxes: NDArray[np.float64]
    crowded: int
    unevenness: float = 1.0

    @classmethod
    def of(cls, facts: Facts, train: Shards) -> "TrainStatistics":
        """The statistics of a prepared dataset."""
        height, width = (np.array(train.column(name), float) for name in ("height", "width"))
        listed = [np.array(boxes or [], float).reshape(-1, 4) for boxes in train.column("boxes")]
        fractions = [
            np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) / max(high, wide)
            for boxes, high, wide in zip(listed, height, width, strict=True)
        ]
        gray = len(set(facts.mean["3"])) == len(set(facts.std["3"])) == 1
        return cls(
            images=len(train),
            channels=1 if gray else 3,
            side=int(np.median(np.maximum(height, width))),
            boxes=np.concatenate(fractions),
            crowded=max(map(len, listed)),
            unevenness=max(facts.class_counts, default=1) / max(1, min(facts.class_counts, default=1)),
        )

    def epochs(self, budget: int, most: int) -> int:
        """Epochs that show the network `budget` images in all, from 4 to `most`."""
        return max(4, min(most, math.ceil(budget / self.images)))
