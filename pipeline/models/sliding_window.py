"""Sliding window: a classifier with a background class is applied to windows at every position and size.

Vaillant, Monrocq, LeCun: Original Approach for the Localisation of Objects in Images, IEE Proc. Vision 141 (1994) 245,
and Sermanet et al.: OverFeat, ICLR 2014, https://arxiv.org/abs/1312.6229, whose network runs over whole images at
several sizes. Neither publishes our network; PAPER has our settings.

`mode: dense` runs the classifier as convolutions over each copy of the image, so that overlapping windows share
computation; `mode: crops` crops every window and classifies it alone, for comparison.

Promise: both modes have the same weights, which are the classifier's own: `pretrained: {job: <classifier>}` loads all
but the head, which has one class more. Results are the same if the classifier does not pad (lenet5), else similar. A
window is a square; a box has the mean proportions of its class in the train set.
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
from pipeline.models.parts.convolutionalize import Sliding, build_sliding
from pipeline.models.parts.image_pyramid import (
    WindowFilter,
    bounding_squares,
    build_pyramid,
    cell_centres,
    scaled_size,
    window_sides,
)
from pipeline.models.parts.spec import Spec

TASKS = ("detection",)
PAPER = {"input": [3, 128, 128], "classes": 10, "options": {"backbone": "lenet5", "window": 32}, "parameters": 62_091}
LEVELS = ()
MODES = ("dense", "crops")

#: a window is positive from the first IoU with an object's square on, and background up to the second
POSITIVE_IOU, BACKGROUND_IOU = 0.5, 0.3
#: background windows in the loss per positive window: those with the largest loss
NEGATIVES_PER_POSITIVE = 3


def build(
    spec: Spec,
    *,
    backbone: str = "lenet5",
    backbone_options: dict[str, Any] | None = None,
    window: int = 32,
    sides: Sequence[float] | None = None,
    mode: str = "dense",
    score: float = 0.05,
    overlap: float = 0.3,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S → per image a dict of boxes N×4 in pixels, labels N and scores N; with targets: losses by name.

    backbone: a classifier in pipeline/models for images of `window` pixels per side, backbone_options: of its `build` ·
    sides: of the windows in pixels of the image, which is scaled so that they become `window`; by default five from an
    eighth to a half of the image · mode: `dense` or `crops` · score: smallest score of a detection · overlap:
    IoU above which two windows are duplicates · detections: maximum per image.
    """
    if mode not in MODES:
        raise UserError(f"options.mode: {plugins.unknown('mode', mode, MODES)}")
    body = build_sliding(replace(spec, classes=spec.classes + 1), backbone, backbone_options, window)
    window_filter = WindowFilter(score, overlap, detections)
    return SlidingWindow(body, spec.classes, window_sides(spec.size, sides), mode, window_filter)


class SlidingWindow(nn.Module):
    """A classifier of K classes and background, which is last, over windows of several sizes.

    shares: width and height of a class's boxes as fractions of the window, K×2 · seen: objects in that mean, K×1.
    """

    shares: Tensor
    seen: Tensor

    def __init__(
        self, body: Sliding, classes: int, sides: Sequence[float], mode: str, window_filter: WindowFilter
    ) -> None:
        super().__init__()
        self.body, self.sides, self.mode, self.window_filter = body, sides, mode, window_filter
        self.register_buffer("shares", torch.ones(classes, 2))
        self.register_buffer("seen", torch.zeros(classes, 1))

    def maps(self, images: Tensor) -> list[Tensor]:
        """B×C×S×S → for each of `sides` logits B×(K+1)×n×n of windows that together cover the image."""
        padded = [self.body.pad_border(copy) for copy in build_pyramid(images, self.body.window, self.sides)]
        return [self.body(copy) if self.mode == "dense" else self._crop_logits(copy) for copy in padded]

    def _crop_logits(self, images: Tensor) -> Tensor:
        """Logits of every window cropped alone, one row of windows at a time."""
        window, stride = self.body.window, self.body.stride
        rows = images.unfold(2, window, stride).unfold(3, window, stride).permute(2, 0, 3, 1, 4, 5)
        logits = [self.body(row.flatten(0, 1)).view(*row.shape[:2], -1) for row in rows]
        return torch.stack(logits).permute(1, 3, 0, 2)

    def forward(self, images: Tensor, targets: Sequence[dict[str, Tensor]] | None = None) -> Any:
        """With targets: losses by name. Without: detections per image, each the best class of a window."""
        levels, size = self.maps(images), images.shape[-1]
        logits = torch.cat([cells.flatten(2) for cells in levels], 2).mT.float()
        pairs = zip(levels, self.sides, strict=True)
        windows = torch.cat([self._window_boxes(cells, side, size) for cells, side in pairs])
        if targets is not None:
            return self.losses(logits, windows, targets)
        scores, labels = logits.softmax(2)[..., :-1].max(2)
        low, high = windows.split(2, 1)
        centre, half = (low + high) / 2, (high - low) / 2 * self.shares[labels]
        boxes = torch.cat([centre - half, centre + half], 2).clamp(0, size)
        return [self.window_filter.select(*item) for item in zip(boxes, labels, scores, strict=True)]

    def _window_boxes(self, cells: Tensor, side: float, size: int) -> Tensor:
        """The windows of logits B×(K+1)×n×n as boxes n²×4 in pixels of the image."""
        window, stride = self.body.window, self.body.stride
        centre = cell_centres(cells, stride, window / 2 - (window - stride) // 2)
        return torch.cat([centre - window / 2, centre + window / 2], 1) * (size / scaled_size(size, window, side))

    def losses(self, logits: Tensor, windows: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Negative log-likelihood of positive windows and of hard background windows, both per positive window.

        logits: B×M×(K+1) · windows: M×4.
        """
        labels = torch.stack([self._match(windows, target) for target in targets])
        nll = F.cross_entropy(logits.mT, labels.clamp(min=0), reduction="none")
        positive = (labels >= 0) & (labels < len(self.shares))
        count = max(1, int(positive.sum()))
        background = nll[labels == len(self.shares)]
        hard = background.topk(min(NEGATIVES_PER_POSITIVE * count, len(background))).values
        return {"thing": nll[positive].sum() / count, "background": hard.sum() / count}

    @torch.no_grad()
    def _match(self, windows: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Classes of M windows, −1: ignored; the window with an object's largest IoU has its class in any case."""
        background = len(self.shares)
        labels = target["labels"]
        if not len(labels):
            return torch.full((len(windows),), background, device=windows.device)
        squares, proportions = bounding_squares(target["boxes"])
        ious = box_iou(windows, squares)
        best, matches = ious.max(1)
        unmatched = torch.where(best <= BACKGROUND_IOU, background, -1)
        window_labels = torch.where(best >= POSITIVE_IOU, labels[matches], unmatched)
        window_labels[ious.argmax(0)] = labels
        self._update_proportions(labels, proportions)
        return window_labels

    def _update_proportions(self, labels: Tensor, proportions: Tensor) -> None:
        """Update the running mean of box proportions per class with N objects."""
        one_hot = F.one_hot(labels, len(self.shares)).T.to(proportions)
        differences = one_hot @ (proportions - self.shares[labels])
        self.seen += one_hot.sum(1, keepdim=True)
        self.shares += differences / self.seen.clamp(min=1)


def trace(network: SlidingWindow, images: Tensor) -> list[Tensor]:
    """Logits of every window, before non-maximum suppression."""
    return network.maps(images)
