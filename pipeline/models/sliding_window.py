"""Sliding window: a classifier that also knows background is asked about every place and size.

Vaillant, Monrocq, LeCun: Original Approach for the Localisation of Objects in Images, IEE Proc. Vision 141 (1994) 245,
and Sermanet et al.: OverFeat, ICLR 2014, https://arxiv.org/abs/1312.6229, whose network runs over whole images at
several sizes. Neither publishes our network; PAPER has our settings.

`way: dense` runs the classifier as convolutions over each copy of the image, so that windows share what they have in
common; `way: crops` cuts every window out and asks for it alone, which is what it stands for.

Promise: both ways have the same weights, which are the classifier's own: `pretrained: {job: <classifier>}` takes all
but the head, which has one class more. They answer the same where the classifier pads nothing (lenet5), else about
the same. A window is a square; a box has the mean proportions of its class in the train set.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.convolutionalize import Sliding, sliding
from pipeline.models.parts.image_pyramid import Choice, centres, pyramid, scaled, sought, squares
from pipeline.models.parts.spec import Spec

TASKS = ("detection",)
PAPER = {"input": [3, 128, 128], "classes": 10, "options": {"backbone": "lenet5", "window": 32}, "parameters": 62_091}
STAGES = ()
WAYS = ("dense", "crops")

#: from this overlap with a thing's square on a window shows the thing; up to the second it shows background
THING, BACKGROUND = 0.5, 0.3
#: windows of background that are learnt from, for each that shows a thing: the most mistaken ones
HARD = 3


def build(
    spec: Spec,
    *,
    backbone: str = "lenet5",
    backbone_options: dict[str, Any] | None = None,
    window: int = 32,
    sides: Sequence[float] | None = None,
    way: str = "dense",
    score: float = 0.05,
    overlap: float = 0.3,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S → a dict an image with boxes N×4 in pixels, labels N and scores N; with targets: losses by name.

    backbone: a classifier of this folder for images of `window` pixels a side, backbone_options those of its build ·
    sides: of the windows in pixels of the image, which is scaled so that they become `window`; by default five from
    an eighth to a half of it · way: `dense` or `crops` · score: the least that is an answer · overlap: windows that
    overlap by more are one · detections: the most that an image gets.
    """
    if way not in WAYS:
        raise UserError(f"options.way: {plugins.unknown('way', way, WAYS)}")
    body = sliding(replace(spec, classes=spec.classes + 1), backbone, backbone_options, window)
    return SlidingWindow(body, spec.classes, sought(spec.size, sides), way, Choice(score, overlap, detections))


class SlidingWindow(nn.Module):
    """A classifier of K classes and, last, background, and how wide and high a thing of each class is in its window."""

    shares: Tensor
    seen: Tensor

    def __init__(self, body: Sliding, classes: int, sides: Sequence[float], way: str, choice: Choice) -> None:
        super().__init__()
        self.body, self.sides, self.way, self.choice = body, sides, way, choice
        self.register_buffer("shares", torch.ones(classes, 2))
        self.register_buffer("seen", torch.zeros(classes, 1))

    def maps(self, images: Tensor) -> list[Tensor]:
        """B×C×S×S → for each of `sides` B×(K+1)×n×n logits of windows that together cover the image."""
        around = [self.body.bordered(copy) for copy in pyramid(images, self.body.window, self.sides)]
        return [self.body(copy) if self.way == "dense" else self._cropped(copy) for copy in around]

    def _cropped(self, images: Tensor) -> Tensor:
        """The logits of every window alone, a row of windows at a time."""
        window, stride = self.body.window, self.body.stride
        rows = images.unfold(2, window, stride).unfold(3, window, stride).permute(2, 0, 3, 1, 4, 5)
        logits = [self.body(row.flatten(0, 1)).view(*row.shape[:2], -1) for row in rows]
        return torch.stack(logits).permute(1, 3, 0, 2)

    def forward(self, images: Tensor, targets: Sequence[dict[str, Tensor]] | None = None) -> Any:
        """With targets: losses by name. Without: the best class of each window, where no better window overlaps."""
        maps, size = self.maps(images), images.shape[-1]
        logits = torch.cat([cells.flatten(2) for cells in maps], 2).mT.float()
        windows = torch.cat([self._windows(cells, side, size) for cells, side in zip(maps, self.sides, strict=True)])
        if targets is not None:
            return self.losses(logits, windows, targets)
        scores, labels = logits.softmax(2)[..., :-1].max(2)
        low, high = windows.split(2, 1)
        centre, half = (low + high) / 2, (high - low) / 2 * self.shares[labels]
        boxes = torch.cat([centre - half, centre + half], 2).clamp(0, size)
        return [self.choice.of(*item) for item in zip(boxes, labels, scores, strict=True)]

    def _windows(self, cells: Tensor, side: float, size: int) -> Tensor:
        """n²×4: the squares in pixels of the image that B×(K+1)×n×n logits are of."""
        window, stride = self.body.window, self.body.stride
        centre = centres(cells, stride, window / 2 - (window - stride) // 2)
        return torch.cat([centre - window / 2, centre + window / 2], 1) * (size / scaled(size, window, side))

    def losses(self, logits: Tensor, windows: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Mean surprise at windows that show things, and, a thing, that at the background taken for things.

        logits B×M×(K+1), windows M×4.
        """
        answers = torch.stack([self._answers(windows, target) for target in targets])
        surprise = F.cross_entropy(logits.mT, answers.clamp(min=0), reduction="none")
        things = (answers >= 0) & (answers < len(self.shares))
        count = max(1, int(things.sum()))
        hard = surprise[answers == len(self.shares)]
        hard = hard.topk(min(HARD * count, len(hard))).values
        return {"thing": surprise[things].sum() / count, "background": hard.sum() / count}

    @torch.no_grad()
    def _answers(self, windows: Tensor, target: dict[str, Tensor]) -> Tensor:
        """M windows' classes, −1 for those that are neither this nor that; the best window of a thing shows it."""
        background = len(self.shares)
        labels = target["labels"]
        if not len(labels):
            return torch.full((len(windows),), background, device=windows.device)
        around, shares = squares(target["boxes"])
        overlaps = box_iou(windows, around)
        best, thing = overlaps.max(1)
        answers = torch.where(best >= THING, labels[thing], torch.where(best <= BACKGROUND, background, -1))
        answers[overlaps.argmax(0)] = labels
        self._learn(labels, shares)
        return answers

    def _learn(self, labels: Tensor, shares: Tensor) -> None:
        """Take things into the running mean of their classes' proportions."""
        by_class = F.one_hot(labels, len(self.shares)).T.to(shares)
        apart = by_class @ (shares - self.shares[labels])
        self.seen += by_class.sum(1, keepdim=True)
        self.shares += apart / self.seen.clamp(min=1)


def trace(network: SlidingWindow, images: Tensor) -> list[Tensor]:
    """What the classifier says of every window, before boxes are chosen."""
    return network.maps(images)
