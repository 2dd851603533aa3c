"""Windows of one size over copies of an image in several sizes: how things are sought at every place and scale."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

from pipeline.errors import UserError

#: sides of windows by default, in parts of the image
SIDES = tuple(2 ** (step / 2) / 8 for step in range(5))
#: the best windows, among which those that overlap are sorted out
CANDIDATES = 1000


def sought(size: int, sides: Sequence[float] | None) -> tuple[float, ...]:
    """Sides of windows in pixels of an image of `size`; UserError for windows that do not lie in it."""
    chosen = tuple(sides or [size * part for part in SIDES])
    if not 1 <= min(chosen) <= max(chosen) <= size:
        raise UserError(f"options.sides: windows of {list(chosen)} do not lie in {size} pixels. Give 1 to {size}.")
    return chosen


def pyramid(images: Tensor, window: int, sides: Sequence[float]) -> list[Tensor]:
    """B×C×S×S → a copy for each side, so large that as many pixels of the image are `window` pixels of the copy."""
    sizes = [scaled(images.shape[-1], window, side) for side in sides]
    return [F.interpolate(images, (size, size), mode="bilinear", antialias=True) for size in sizes]


def scaled(size: int, window: int, side: float) -> int:
    """The size of the copy in which `side` pixels of an image of `size` are `window`."""
    return max(1, round(size * window / side))


def squares(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """N×4 boxes → the squares around their centres that are as wide as the longer side, and N×2: a box's part of its.

    A window is a square; what it says of a thing is a box of such a part.
    """
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    longer = half.amax(1, keepdim=True)
    centre = boxes[:, :2] + half
    return torch.cat([centre - longer, centre + longer], 1), half / longer


def centres(cells: Tensor, step: int, first: float) -> Tensor:
    """…×n×n → n²×2: x and y of the cells' centres, `step` apart, the first at `first`."""
    count = cells.shape[-1]
    number = torch.arange(count**2, device=cells.device)
    return torch.stack([number % count, number // count], 1) * step + first


class Choice(NamedTuple):
    """Which of many windows are answers: of more than `score`, none overlapping a better one by more than `overlap`."""

    score: float
    overlap: float
    detections: int

    def of(self, boxes: Tensor, labels: Tensor, scores: Tensor) -> dict[str, Tensor]:
        """N×4, N and N, the best class of each window → at most `detections` of them, the best first."""
        best = scores.topk(min(CANDIDATES, len(scores))).indices
        best = best[scores[best] > self.score]
        kept = best[nms(boxes[best], scores[best], self.overlap)][: self.detections]
        return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}
