"""The learner of a localizer, and a box made of its map.

Zhou et al.: Learning Deep Features for Discriminative Localization, CVPR 2016, https://arxiv.org/abs/1512.04150.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pipeline.learners.base import Learner

#: fraction of the maximum of a map above which a pixel belongs to the box
THRESHOLD = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class ClassMaps:
    """A prediction: K class probabilities, and K×h×w maps of where each class was seen, whatever their size."""

    probabilities: NDArray[np.float32]
    maps: NDArray[np.float32]

    @property
    def label(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())

    def heat(self, label: int, height: int, width: int) -> NDArray[np.float32]:
        """A class's map, enlarged to height×width."""
        scaled = Image.fromarray(self.maps[label]).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(scaled, np.float32)

    def box(self, label: int, height: int, width: int) -> NDArray[np.float32]:
        """Where a class is in an image of height×width: xyxy in its pixels."""
        return largest_box(self.heat(label, height, width))


def largest_box(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """xyxy box around the largest connected piece above 20 % of the maximum; all of it, where nothing is above 0."""
    height, width = heat.shape
    if heat.max() <= 0:
        return np.array([0, 0, width, height], np.float32)
    hot = (heat > THRESHOLD * heat.max()).astype(np.uint8)
    _, _, pieces, _ = cv2.connectedComponentsWithStats(hot, connectivity=4)
    left, top, wide, high, _ = max(pieces[1:], key=lambda piece: piece[cv2.CC_STAT_AREA])
    return np.array([left, top, left + wide, top + high], np.float32)


class Localizer(Learner):
    """Cross-entropy on the logits: the maps learn from nothing else."""

    def losses(self, outputs: dict[str, Tensor], targets: Tensor, phase: str) -> dict[str, Tensor]:
        """Mean cross-entropy in nats; targets B labels or B×K soft labels."""
        return {"cross_entropy": F.cross_entropy(outputs["logits"].float(), targets)}

    def predict(self, outputs: dict[str, Tensor]) -> list[ClassMaps]:
        """Probabilities and maps, an image each."""
        probabilities = outputs["logits"].float().softmax(dim=1).cpu().numpy()
        return [ClassMaps(*pair) for pair in zip(probabilities, outputs["maps"].float().cpu().numpy(), strict=True)]
