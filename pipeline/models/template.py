"""Template matching: what a class looks like on average is moved over the image at every place and size.

Lewis: Fast Normalized Cross-Correlation, Vision Interface 1995,
http://scribblethink.org/Work/nvisionInterface/nip.html. Published: no detection score; it is how things were found
before anything was learnt, and the floor that learnt detectors must beat.

Nothing is trained by gradient (`epochs: 0`): `fit` sees each train image once and takes the mean of a class's cut-outs,
each brought to mean 0 and length 1, which is the template that correlates best with all of them.

Promise: scores are OpenCV's TM_CCOEFF_NORMED, −1 to 1: brightness and contrast of the image do not matter. A thing is
sought in squares as wide as its longer side; its box has the class's mean proportions.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from pipeline.errors import UserError
from pipeline.learners.detector import Target
from pipeline.models.parts.image_pyramid import Choice, centres, pyramid, sought, squares
from pipeline.models.parts.spec import Spec

TASKS = ("detection",)
PAPER = {"input": [3, 128, 128], "classes": 10, "options": {}, "parameters": 0}
STAGES = ()

#: windows of less variance have no shape to compare
FLAT = 1e-4


def build(
    spec: Spec,
    *,
    template: int = 16,
    sides: Sequence[float] | None = None,
    score: float = 0.3,
    overlap: float = 0.3,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S → a dict an image with boxes N×4 in pixels, labels N and scores N.

    template: side of the templates · sides: of the windows in pixels of the image; by default five from an eighth to
    a half of it · score: the least that is an answer · overlap: windows that overlap by more are one · detections: the
    most that an image gets.
    """
    if template < 2:
        raise UserError(f"options.template: {template} pixels have no shape to compare. Give at least 2.")
    return Templates(spec, template, sought(spec.size, sides), Choice(score, overlap, detections))


class Templates(nn.Module):
    """A template of C×T×T a class, of mean 0 and length 1, and how wide and high a thing is in its window."""

    templates: Tensor
    shares: Tensor

    def __init__(self, spec: Spec, side: int, sides: Sequence[float], choice: Choice) -> None:
        super().__init__()
        self.register_buffer("templates", torch.zeros(spec.classes, spec.channels, side, side))
        self.register_buffer("shares", torch.ones(spec.classes, 2))
        self.sides, self.choice = sides, choice

    def maps(self, images: Tensor) -> list[Tensor]:
        """B×C×S×S → for each of `sides` B×K×n×n: how well each class's template fits around a place."""
        side = self.templates.shape[-1]
        before, after = side // 2, side - 1 - side // 2
        copies = pyramid(images, side, self.sides)
        return [correlation(F.pad(copy, (before, after, before, after)), self.templates) for copy in copies]

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """The best class of each window, where it fits well enough and no better window overlaps."""
        scales = [self._windows(cells, images.shape[-1]) for cells in self.maps(images)]
        boxes, labels, scores = (torch.cat(part, 1) for part in zip(*scales, strict=True))
        return [self.choice.of(*item) for item in zip(boxes, labels, scores, strict=True)]

    def _windows(self, cells: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """B×K×n×n → of n² windows the boxes of the class that fits best, B×n²×4 in pixels; that class; how well."""
        scores, labels = cells.flatten(2).max(1)
        side = self.templates.shape[-1]
        # around the middle of an odd window's middle pixel, before that of an even one's
        centre, half = centres(cells, 1, side / 2 - side // 2), self.shares[labels] * side / 2
        boxes = torch.cat([centre - half, centre + half], -1) * (size / cells.shape[-1])
        return boxes.clamp(0, size), labels, scores

    def fit(self, batches: Iterable[tuple[Tensor, Sequence[Target]]]) -> None:
        """Take the mean of each class's cut-outs and proportions; a class that is nowhere fits nowhere."""
        sums, shares, counts = (torch.zeros_like(item) for item in (self.templates, self.shares, self.shares[:, :1]))
        for images, targets in batches:
            boxes, labels = (torch.cat([target[name] for target in targets]) for name in ("boxes", "labels"))
            around, own = squares(boxes)
            parts = list(around.split([len(target["boxes"]) for target in targets]))
            cut = roi_align(images, parts, self.templates.shape[-1], aligned=True)
            by_class = F.one_hot(labels, len(sums)).T.to(images)
            sums += (by_class @ unit(cut).flatten(1)).view_as(sums)
            shares += by_class @ own
            counts += by_class.sum(1, keepdim=True)
        self.templates.copy_(unit(sums))
        self.shares.copy_(torch.where(counts > 0, shares / counts, 1))


def unit(windows: Tensor) -> Tensor:
    """N×C×T×T → the same of mean 0 by channel and length 1; flat ones stay 0."""
    centred = windows - windows.mean((2, 3), keepdim=True)
    return F.normalize(centred.flatten(1)).view_as(windows)


def correlation(images: Tensor, templates: Tensor) -> Tensor:
    """B×C×H×W, templates K×C×T×T of mean 0 by channel and length 1 → B×K×(H−T+1)×(W−T+1), −1 to 1; 0 where flat."""
    side = templates.shape[-1]
    fits = F.conv2d(images, templates)
    mean, square = F.avg_pool2d(images, side, 1), F.avg_pool2d(images.square(), side, 1)
    variance = (square - mean.square()).mean(1, keepdim=True)
    length = (variance * templates[0].numel()).clamp(min=0).sqrt()
    return torch.where(variance > FLAT, fits / length, 0).clamp(-1, 1)


def trace(network: Templates, images: Tensor) -> list[Tensor]:
    """How well each class fits at every place and size, before boxes are chosen."""
    return network.maps(images)
