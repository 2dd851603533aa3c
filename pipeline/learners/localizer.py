"""The learner of localization: class activation maps, and the box computed from a map.

Zhou et al.: Learning Deep Features for Discriminative Localization, CVPR 2016, https://arxiv.org/abs/1512.04150.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pipeline.geometry.placement import Placement, cropped
from pipeline.learners.base import Learner

#: fraction of a map's maximum above which a pixel belongs to the object
THRESHOLD = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class ClassMaps:
    """A prediction: K class probabilities and K×h×w class activation maps of any size, of the image.

    A learner's maps are of its input, until they are `restored`.
    """

    probabilities: NDArray[np.float32]
    maps: NDArray[np.float32]

    @property
    def label(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())

    def restored(self, placement: Placement) -> "ClassMaps":
        """The same of the image that lies in the input; maps get as many cells as they had there, rounded up."""
        if placement.fills:
            return self
        maps, box = cropped(self.maps, placement.cells(*self.maps.shape[1:]))
        size = math.ceil(box[2] - box[0]), math.ceil(box[3] - box[1])
        parts = (Image.fromarray(part).resize(size, Image.Resampling.BILINEAR, box=box) for part in maps)
        return ClassMaps(self.probabilities, np.stack([np.asarray(part, np.float32) for part in parts]))

    def heat(self, label: int, height: int, width: int) -> NDArray[np.float32]:
        """The map of a class, resized to height×width."""
        scaled = Image.fromarray(self.maps[label]).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(scaled, np.float32)

    def box(self, label: int, height: int, width: int) -> NDArray[np.float32]:
        """The box of a class, xyxy in pixels of a height×width image."""
        return largest_box(self.heat(label, height, width))


def largest_box(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """xyxy box of the largest connected component above 20 % of the maximum; the whole map if nothing is above 0."""
    height, width = heat.shape
    if heat.max() <= 0:
        return np.array([0, 0, width, height], np.float32)
    hot = (heat > THRESHOLD * heat.max()).astype(np.uint8)
    _, _, components, _ = cv2.connectedComponentsWithStats(hot, connectivity=4)
    left, top, wide, high, _ = max(components[1:], key=lambda component: component[cv2.CC_STAT_AREA])
    return np.array([left, top, left + wide, top + high], np.float32)


class Localizer(Learner):
    """Cross-entropy on the logits, the only loss; the maps have no targets of their own."""

    def losses(self, outputs: dict[str, Tensor], targets: Tensor, phase: str) -> dict[str, Tensor]:
        """Mean cross-entropy in nats; targets are B labels or B×K soft labels."""
        return {"cross_entropy": F.cross_entropy(outputs["logits"].float(), targets)}

    def predict(self, outputs: dict[str, Tensor]) -> list[ClassMaps]:
        """Class probabilities and maps per image."""
        probabilities = outputs["logits"].float().softmax(dim=1).cpu().numpy()
        return [ClassMaps(*pair) for pair in zip(probabilities, outputs["maps"].float().cpu().numpy(), strict=True)]
