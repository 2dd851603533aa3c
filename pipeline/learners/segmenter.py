"""What a segmenter learns by: losses at each pixel, their weights, and soft Dice.

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
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import images
from pipeline.learners.base import Learner, Settings
from pipeline.models.parts.layers import centre
from pipeline.sample import IGNORE


@dataclass(frozen=True, slots=True)
class LabelMap:
    """A prediction: ids H×W uint8, at the network's size or an image's own, each below `classes`."""

    ids: NDArray[np.uint8]
    classes: int

    def scaled(self, height: int, width: int) -> NDArray[np.uint8]:
        """The ids at height×width, each pixel as its nearest."""
        return images.resize(self.ids, height, width, smooth=False)


@dataclass(frozen=True, slots=True)
class Loss:
    """What counts how much, as the task's `learner` describes it."""

    dice: float
    focal: float
    border: bool
    patches: float
    patch_side: int


class Segmenter(Learner):
    """A loss at each pixel that is not void; a network that sees only its image's middle learns from that."""

    weight: Tensor

    def __init__(self, network: nn.Module, settings: Settings, weight: Tensor, loss: Loss) -> None:
        super().__init__(network, settings)
        self.loss = loss
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, images: Tensor, targets: Any = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: a LabelMap an image, of all of it where the network has `whole`."""
        if targets is not None:
            return super().forward(images, targets, phase)
        run = getattr(self.network, "whole", self.network)
        return self.predict(run(self.normalize(images)))

    def losses(self, outputs: Tensor, targets: Any, phase: str) -> dict[str, Tensor]:
        """Mean losses of logits B×K×h×w against ids B×H×W, of which only the middle is used where h < H."""
        ids, border = targets if isinstance(targets, tuple) else (targets, None)
        logits, truth = outputs.float(), centre(ids, outputs)
        weight = self.weight[truth.where(truth != IGNORE, 0)]
        if self.loss.border:
            weight = weight + centre(border, outputs)
        if self.training and self.loss.patches < 1:
            weight = weight * _patches(truth, self.loss.patches, self.loss.patch_side)
        found = {"focal" if self.loss.focal else "cross_entropy": self._by_pixel(logits, truth, weight)}
        if self.loss.dice:
            found["dice"] = self.loss.dice * _dice(logits, truth)
        return found

    def _by_pixel(self, logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Weighted nats a pixel; void ones count as 0, so that parts of a batch add up and no batch gives nan."""
        nats = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="none")
        if self.loss.focal:
            # a power below 1 has no slope at 0, which is what void and certain pixels would give
            weight = weight * (-torch.expm1(-nats)).clamp(min=1e-6) ** self.loss.focal
        return (weight * nats).mean()

    def predict(self, outputs: Tensor) -> list[LabelMap]:
        """The likeliest class of every pixel."""
        ids = outputs.argmax(dim=1).to(torch.uint8).cpu().numpy()
        return [LabelMap(item, outputs.shape[1]) for item in ids]


def _patches(like: Tensor, share: float, side: int) -> Tensor:
    """B×H×W of square cells, drawn anew at each call: 1/share in about that share of them, else 0; its mean is 1."""
    cells = [-(-length // side) for length in like.shape[1:]]
    drawn = torch.rand(len(like), *cells, device=like.device) < share
    whole = drawn.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)
    return whole[:, : like.shape[1], : like.shape[2]] / share


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 − soft Dice, averaged over the classes that an image shows, then over images; 0 for one that is all void."""
    known = (truth != IGNORE)[..., None]
    right = F.one_hot(truth.where(known[..., 0], 0), logits.shape[1]) * known
    guess = logits.softmax(1).movedim(1, -1) * known
    area = right.sum((1, 2))
    dice = (2 * (guess * right).sum((1, 2)) + 1) / (guess.sum((1, 2)) + area + 1)
    shown = (area > 0).float()
    return (((1 - dice) * shown).sum(1) / shown.sum(1).clamp(min=1)).mean()
