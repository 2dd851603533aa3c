"""The learner of segmentation: losses per pixel with weights, and soft Dice.

Cross-entropy, focal (Lin et al. 2017, https://arxiv.org/abs/1708.02002) and soft Dice (Milletari et al. 2016,
https://arxiv.org/abs/1606.04797); the border weights of U-Net (Ronneberger et al. 2015,
https://arxiv.org/abs/1505.04597) and the sampling of patches by their loss (Long et al. 2015,
https://arxiv.org/abs/1411.4038).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import images
from pipeline.geometry.placement import Box, Placement, cropped
from pipeline.learners.base import Learner, Settings
from pipeline.models.parts.layers import centre
from pipeline.sample import IGNORE


@dataclass(frozen=True, slots=True)
class LabelMap:
    """A prediction: class ids H×W uint8 below `classes`, in pixels of the network's input or of the image.

    logits: K×h×w float32 of the input, from which the ids of the image are computed (`restored`); None of an image's.
    """

    ids: NDArray[np.uint8]
    classes: int
    logits: NDArray[np.float32] | None = None

    def restored(self, placement: Placement) -> "LabelMap":
        """The label map of the image that lies in the input, in its pixels: of resized logits, else of the ids."""
        height, width = placement.height, placement.width
        if self.logits is not None:
            logits, box = cropped(self.logits, placement.cells(*self.logits.shape[1:]))
            return LabelMap(_most_probable(logits, box, height, width), self.classes)
        if placement.fills:
            return self
        ids, box = cropped(self.ids, placement.cells(*self.ids.shape))
        part = Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST, box=box)
        return LabelMap(np.asarray(part, np.uint8), self.classes)

    def scaled(self, height: int, width: int) -> NDArray[np.uint8]:
        """The ids resized to height×width by nearest neighbour."""
        return images.resize(self.ids, height, width, smooth=False)


def _most_probable(logits: NDArray[np.float32], box: Box, height: int, width: int) -> NDArray[np.uint8]:
    """The class of the largest logit at each pixel of a height×width image, which fills a box of the logits K×h×w.

    Logits are interpolated linearly, one class after the other, so that memory does not grow with the classes. Where
    the image is smaller than the map, they are averaged.
    """
    ids, largest = np.zeros((height, width), np.uint8), np.full((height, width), -np.inf, np.float32)
    for number, values in enumerate(logits):
        resized = Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR, box=box)
        scaled = np.asarray(resized, np.float32)
        np.copyto(ids, np.uint8(number), where=scaled > largest)
        np.maximum(largest, scaled, out=largest)
    return ids


@dataclass(frozen=True, slots=True)
class LossOptions:
    """Weights and modes of the loss; the `learner` of tasks/segmentation.py describes each."""

    dice: float
    focal: float
    border: bool
    patches: float
    patch_side: int


class Segmenter(Learner):
    """Loss per pixel, void pixels excluded; for a network whose output is smaller, over the image's centre."""

    weight: Tensor

    def __init__(self, network: nn.Module, settings: Settings, weight: Tensor, loss: LossOptions) -> None:
        super().__init__(network, settings)
        self.loss = loss
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, images: Tensor, targets: Any = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: one LabelMap per image, by the network's `whole` if it has one."""
        if targets is not None:
            return super().forward(images, targets, phase)
        run = getattr(self.network, "whole", self.network)
        return self.predict(run(self.normalize(images)))

    def losses(self, outputs: Tensor, targets: Any, phase: str) -> dict[str, Tensor]:
        """Mean losses of logits B×K×h×w against ids B×H×W, of which only the centre h×w is used."""
        ids, border = targets if isinstance(targets, tuple) else (targets, None)
        logits, truth = outputs.float(), centre(ids, outputs)
        weight = self.weight[truth.where(truth != IGNORE, 0)]
        if self.loss.border:
            weight = weight + centre(border, outputs)
        if self.training and self.loss.patches < 1:
            weight = weight * _patch_weights(truth, self.loss.patches, self.loss.patch_side)
        losses = {"focal" if self.loss.focal else "cross_entropy": self._pixel_loss(logits, truth, weight)}
        if self.loss.dice:
            losses["dice"] = self.loss.dice * _dice_loss(logits, truth)
        return losses

    def _pixel_loss(self, logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Weighted nats per pixel, 0 at void ones: so the losses of parts of a batch add up, and none is nan."""
        nats = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="none")
        if self.loss.focal:
            # the derivative of a power below 1 is infinite at 0, the value at void and at certain pixels
            weight = weight * (-torch.expm1(-nats)).clamp(min=1e-6) ** self.loss.focal
        return (weight * nats).mean()

    def predict(self, outputs: Tensor) -> list[LabelMap]:
        """The most probable class of every pixel, and the logits."""
        ids = outputs.argmax(dim=1).to(torch.uint8).cpu().numpy()
        logits = outputs.float().cpu().numpy()
        return [LabelMap(item, outputs.shape[1], values) for item, values in zip(ids, logits, strict=True)]


def _patch_weights(truth: Tensor, fraction: float, side: int) -> Tensor:
    """Weights B×H×W of square cells: 1/fraction in a random `fraction` of them, else 0; their expected mean is 1."""
    cells = [-(-length // side) for length in truth.shape[1:]]
    selected = torch.rand(len(truth), *cells, device=truth.device) < fraction
    mask = selected.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)
    return mask[:, : truth.shape[1], : truth.shape[2]] / fraction


def _dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1 − soft Dice, averaged over the classes present in an image, then over images; 0 for an all-void image."""
    valid = (truth != IGNORE)[..., None]
    target = F.one_hot(truth.where(valid[..., 0], 0), logits.shape[1]) * valid
    probabilities = logits.softmax(1).movedim(1, -1) * valid
    area = target.sum((1, 2))
    dice = (2 * (probabilities * target).sum((1, 2)) + 1) / (probabilities.sum((1, 2)) + area + 1)
    present = (area > 0).float()
    return (((1 - dice) * present).sum(1) / present.sum(1).clamp(min=1)).mean()
