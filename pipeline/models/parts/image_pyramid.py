"""An image pyramid: windows of one size over copies of an image in several sizes find objects of every scale."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

from pipeline.errors import UserError

#: default sides of windows, as fractions of the image's side
RELATIVE_SIDES = tuple(2 ** (step / 2) / 8 for step in range(5))
#: windows that take part in non-maximum suppression: the best ones
MAX_CANDIDATES = 1000


def window_sides(size: int, sides: Sequence[float] | None) -> tuple[float, ...]:
    """The given sides of windows in pixels, or the default ones; UserError if one is larger than the image."""
    chosen = tuple(sides or [size * fraction for fraction in RELATIVE_SIDES])
    if not 1 <= min(chosen) <= max(chosen) <= size:
        raise UserError(f"options.sides: {list(chosen)} must lie between 1 and {size}, the image's side in pixels")
    return chosen


def build_pyramid(images: Tensor, window: int, sides: Sequence[float]) -> list[Tensor]:
    """B×C×S×S → a copy for each side, scaled so that `side` pixels of the image are `window` pixels of the copy."""
    sizes = [scaled_size(images.shape[-1], window, side) for side in sides]
    return [F.interpolate(images, (size, size), mode="bilinear", antialias=True) for size in sizes]


def scaled_size(size: int, window: int, side: float) -> int:
    """The size of the copy in which `side` pixels of an image of `size` are `window`."""
    return max(1, round(size * window / side))


def bounding_squares(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes N×4 → centred squares as wide as the longer side, and how much of its square a box fills, N×2 (x, y).

    A window is a square; an object's box is the window times such proportions.
    """
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    longer_half = half.amax(1, keepdim=True)
    centre = boxes[:, :2] + half
    return torch.cat([centre - longer_half, centre + longer_half], 1), half / longer_half


def cell_centres(cells: Tensor, step: int, first: float) -> Tensor:
    """Cells …×n×n → their centres (x, y) n²×2, `step` apart, the first at `first`."""
    columns = cells.shape[-1]
    index = torch.arange(columns**2, device=cells.device)
    return torch.stack([index % columns, index // columns], 1) * step + first


class WindowFilter(NamedTuple):
    """Keeps windows that score more than `min_score`, suppresses duplicates (NMS), limits their number.

    max_iou: a window that overlaps a better one of any class by more is a duplicate · max_detections: per image.
    """

    min_score: float
    max_iou: float
    max_detections: int

    def select(self, boxes: Tensor, labels: Tensor, scores: Tensor) -> dict[str, Tensor]:
        """Boxes N×4 with the best class N of each and its score N → the detections, best first."""
        best = scores.topk(min(MAX_CANDIDATES, len(scores))).indices
        best = best[scores[best] > self.min_score]
        kept = best[nms(boxes[best], scores[best], self.max_iou)][: self.max_detections]
        return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}
