"""Template matching: the mean image of a class is correlated with the image at every position and size.

Lewis: Fast Normalized Cross-Correlation, Vision Interface 1995,
http://scribblethink.org/Work/nvisionInterface/nip.html. No detection score is published; it is the classical detector
without learning, the baseline that learnt detectors must beat.

Nothing is trained by gradient (`epochs: 0`): `fit` reads each train image once and averages the crops of a class, each
with mean 0 and norm 1; that template correlates best with all of them.

Promise: scores are OpenCV's TM_CCOEFF_NORMED, −1 to 1: brightness and contrast of the image do not matter. Windows are
squares as wide as an object's longer side; its box has the class's mean proportions.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from pipeline.errors import UserError
from pipeline.learners.detector import Target
from pipeline.models.parts.image_pyramid import (
    WindowFilter,
    bounding_squares,
    build_pyramid,
    cell_centres,
    window_sides,
)
from pipeline.models.parts.spec import Spec

TASKS = ("detection",)
PAPER = {"input": [3, 128, 128], "classes": 10, "options": {}, "parameters": 0}
LEVELS = ()

#: windows of less variance score 0
MIN_VARIANCE = 1e-4


def build(
    spec: Spec,
    *,
    template: int = 16,
    sides: Sequence[float] | None = None,
    score: float = 0.3,
    overlap: float = 0.3,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S → per image a dict of boxes N×4 in pixels, labels N and scores N.

    template: side of the templates in pixels · sides: of the windows in pixels of the image; by default five from an
    eighth to a half of the image · score: smallest score of a detection · overlap: IoU above which two windows are
    duplicates · detections: maximum per image.
    """
    if template < 2:
        raise UserError(f"options.template: a side of {template} pixels is too small; use at least 2")
    return Templates(spec, template, window_sides(spec.size, sides), WindowFilter(score, overlap, detections))


class Templates(nn.Module):
    """A template C×T×T per class, with mean 0 and norm 1.

    shares: width and height of a class's boxes as fractions of the window, K×2.
    """

    templates: Tensor
    shares: Tensor

    def __init__(self, spec: Spec, side: int, sides: Sequence[float], window_filter: WindowFilter) -> None:
        super().__init__()
        self.register_buffer("templates", torch.zeros(spec.classes, spec.channels, side, side))
        self.register_buffer("shares", torch.ones(spec.classes, 2))
        self.sides, self.window_filter = sides, window_filter

    def maps(self, images: Tensor) -> list[Tensor]:
        """B×C×S×S → for each of `sides` the correlation with each class's template around every position, B×K×n×n."""
        side = self.templates.shape[-1]
        before, after = side // 2, side - 1 - side // 2
        copies = build_pyramid(images, side, self.sides)
        return [correlate(F.pad(copy, (before, after, before, after)), self.templates) for copy in copies]

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """B×C×S×S → detections per image, each the best class of a window."""
        levels = [self._window_boxes(cells, images.shape[-1]) for cells in self.maps(images)]
        boxes, labels, scores = (torch.cat(field, 1) for field in zip(*levels, strict=True))
        return [self.window_filter.select(*item) for item in zip(boxes, labels, scores, strict=True)]

    def _window_boxes(self, cells: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scores B×K×n×n of n² windows → boxes of the best class B×n²×4 in pixels, that class B×n², its score B×n²."""
        scores, labels = cells.flatten(2).max(1)
        side = self.templates.shape[-1]
        # a window's centre: the middle of its middle pixel if its side is odd, that pixel's corner if it is even
        centre, half = cell_centres(cells, 1, side / 2 - side // 2), self.shares[labels] * side / 2
        boxes = torch.cat([centre - half, centre + half], -1) * (size / cells.shape[-1])
        return boxes.clamp(0, size), labels, scores

    def fit(self, batches: Iterable[tuple[Tensor, Sequence[Target]]]) -> None:
        """Average the crops and proportions of each class; a class without examples scores 0 everywhere."""
        sums, proportions, counts = (
            torch.zeros_like(item) for item in (self.templates, self.shares, self.shares[:, :1])
        )
        for images, targets in batches:
            boxes, labels = (torch.cat([target[name] for target in targets]) for name in ("boxes", "labels"))
            squares, box_proportions = bounding_squares(boxes)
            per_image = list(squares.split([len(target["boxes"]) for target in targets]))
            crops = roi_align(images, per_image, self.templates.shape[-1], aligned=True)
            one_hot = F.one_hot(labels, len(sums)).T.to(images)
            sums += (one_hot @ standardize(crops).flatten(1)).view_as(sums)
            proportions += one_hot @ box_proportions
            counts += one_hot.sum(1, keepdim=True)
        self.templates.copy_(standardize(sums))
        self.shares.copy_(torch.where(counts > 0, proportions / counts, 1))


def standardize(windows: Tensor) -> Tensor:
    """N×C×T×T → the same with mean 0 per channel and norm 1; constant windows become 0."""
    centred = windows - windows.mean((2, 3), keepdim=True)
    return F.normalize(centred.flatten(1)).view_as(windows)


def correlate(images: Tensor, templates: Tensor) -> Tensor:
    """Normalised cross-correlation of images B×C×H×W with templates K×C×T×T → B×K×(H−T+1)×(W−T+1), −1 to 1.

    Templates have mean 0 per channel and norm 1; windows without variance score 0.
    """
    side = templates.shape[-1]
    products = F.conv2d(images, templates)
    mean, square = F.avg_pool2d(images, side, 1), F.avg_pool2d(images.square(), side, 1)
    variance = (square - mean.square()).mean(1, keepdim=True)
    norm = (variance * templates[0].numel()).clamp(min=0).sqrt()
    return torch.where(variance > MIN_VARIANCE, products / norm, 0).clamp(-1, 1)


def trace(network: Templates, images: Tensor) -> list[Tensor]:
    """Scores of every window, before non-maximum suppression."""
    return network.maps(images)
