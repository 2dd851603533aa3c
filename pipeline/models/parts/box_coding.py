"""Boxes that are given and judged one by one: what Fast R-CNN and R-CNN share.

Which proposals are learnt from, how a box is told by what it differs in from one, and which judged boxes are answers.
Classes count from 0; background is the last.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from pipeline.errors import UserError

#: boxes of fewer pixels a side are no answers
SMALLEST = 1e-2
#: the most that a side grows: the logarithm of 1000 / 16
MOST_GROWTH = 4.135
#: how far the numbers that tell a box usually spread: a network learns them in parts of that
SPREAD = (0.1, 0.1, 0.2, 0.2)
#: how many proposals an image is counted with
COUNTED = 2000


class Drawn(NamedTuple):
    """R regions to learn from: R×4 boxes, R classes, and R×4, the things' boxes that they should have been."""

    boxes: Tensor
    labels: Tensor
    truth: Tensor


class Draw(NamedTuple):
    """How many regions of an image are learnt from, which share of them shows things, and which overlaps mean what.

    A region shows the thing that it overlaps most, from an overlap of `thing` on; one below shows background, if it
    overlaps by at least `background`, so that what is hard to tell is learnt.
    """

    samples: int
    share: float
    thing: float
    background: float

    @torch.no_grad()
    def of(self, proposals: Tensor, target: dict[str, Tensor], classes: int) -> Drawn:
        """At random among P×4 proposals and the things' own boxes."""
        truth = target["boxes"]
        boxes = torch.cat([truth, proposals])
        if not len(truth):
            chosen = _some(torch.arange(len(boxes), device=boxes.device), self.samples)
            return Drawn(boxes[chosen], torch.full_like(chosen, classes), boxes[chosen])
        best, nearest = box_iou(boxes, truth).max(1)
        things = _some(torch.where(best >= self.thing)[0], round(self.share * self.samples))
        others = torch.where((best < self.thing) & (best >= self.background))[0]
        others = _some(others, self.samples - len(things))
        chosen = torch.cat([things, others])
        labels = torch.cat([target["labels"][nearest[things]], torch.full_like(others, classes)])
        return Drawn(boxes[chosen], labels, truth[nearest[chosen]])


def _some(places: Tensor, number: int) -> Tensor:
    """At most `number` of the places, drawn."""
    return places[torch.randperm(len(places), device=places.device)[:number]]


def told(truth: Tensor, boxes: Tensor) -> Tensor:
    """N×4 boxes as N×4: how far their centres are from those of `boxes`, in sides of these, and the log of growth."""
    (centre, sides), (true_centre, true_sides) = _middle(boxes), _middle(truth)
    return torch.cat([(true_centre - centre) / sides, (true_sides / sides).log()], -1)


def decoded(numbers: Tensor, boxes: Tensor) -> Tensor:
    """P×K×4 as `told` gives them, and P×4 boxes → P×K×4 boxes in pixels."""
    centre, sides = _middle(boxes[:, None])
    centre = centre + numbers[..., :2] * sides
    half = numbers[..., 2:].clamp(max=MOST_GROWTH).exp() * sides / 2
    return torch.cat([centre - half, centre + half], -1)


def _middle(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """…×4 → …×2 centres and …×2 sides."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """R×(K+1) logits and R classes → the mean cross-entropy; 0 where there is no region."""
    return F.cross_entropy(logits.float(), labels, reduction="sum") / max(1, len(labels))


def box_loss(found: Tensor, drawn: Drawn, beta: float = 1.0) -> Tensor:
    """R×K×4 numbers by class, in parts of SPREAD → smooth L1 of those of the true classes, summed, a region.

    beta: where the loss turns from a square into a line.
    """
    places = torch.where(drawn.labels < found.shape[1])[0]
    wanted = told(drawn.truth[places], drawn.boxes[places]) / found.new_tensor(SPREAD)
    own = found[places, drawn.labels[places]]
    return F.smooth_l1_loss(own, wanted, beta=beta, reduction="sum") / max(1, len(drawn.labels))


class Answers(NamedTuple):
    """Which of judged boxes are answers: of more than `score`, none overlapping a better one of its class by more
    than `overlap`, at most `detections` an image.
    """

    score: float
    overlap: float
    detections: int

    def of(self, boxes: Tensor, scores: Tensor, size: int) -> dict[str, Tensor]:
        """P×K×4 boxes and P×K scores of K classes → the answers, the best first."""
        inside = clip_boxes_to_image(boxes.flatten(0, 1), (size, size))
        labels = torch.arange(scores.shape[1], device=scores.device).repeat(len(scores))
        values = scores.flatten()
        wide = (inside[:, 2:] - inside[:, :2] >= SMALLEST).all(1)
        kept = torch.where((values > self.score) & wide)[0]
        kept = kept[batched_nms(inside[kept], values[kept], labels[kept], self.overlap)][: self.detections]
        return {"boxes": inside[kept], "labels": labels[kept], "scores": values[kept]}


def counted(images: Tensor) -> Tensor:
    """COUNTED×4: the proposals that an image is counted with, all of them the whole of it."""
    return images.new_tensor([0, 0, images.shape[-1], images.shape[-1]]).expand(COUNTED, 4)


def given(targets: Sequence[dict[str, Tensor]] | None, proposals: Sequence[Tensor] | None) -> list[Tensor]:
    """P×4 an image, from wherever they are; UserError where they are nowhere."""
    found = proposals if proposals is not None else [item["proposals"] for item in targets or () if "proposals" in item]
    if not found:
        raise UserError("a network that judges proposals was given none. Ask it by pipeline.evaluate.predict.")
    return list(found)
