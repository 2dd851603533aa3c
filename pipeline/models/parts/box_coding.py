"""Shared code of R-CNN and Fast R-CNN: sample proposals for training, encode boxes, filter detections.

The encoding is that of Girshick 2014, appendix C, https://arxiv.org/abs/1311.2524. Classes count from 0; background is
the last.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from pipeline.errors import UserError

#: shortest side in pixels of a detected box
MIN_SIDE = 1e-2
#: upper limit of dw and dh, the logarithms of how much a side grows: log(1000 / 16)
MAX_LOG_GROWTH = 4.135
#: usual standard deviation of dx, dy, dw and dh; a network predicts deltas divided by it
DELTA_STD = (0.1, 0.1, 0.2, 0.2)
#: proposals per image when a network's operations are counted
COUNTED_PROPOSALS = 2000


class SampledRois(NamedTuple):
    """R regions for training: boxes R×4, classes R, and the ground-truth boxes R×4 that they are matched to."""

    boxes: Tensor
    labels: Tensor
    truth: Tensor


class RoiSampler(NamedTuple):
    """Samples `samples` regions per image, of which at most `positive_fraction` are positive.

    A region is positive if its largest IoU with an object is at least `positive_iou`, and has that object's class. It
    is background if that IoU is below `positive_iou` and at least `background_iou`: hard negatives are learnt.
    """

    samples: int
    positive_fraction: float
    positive_iou: float
    background_iou: float

    @torch.no_grad()
    def sample(self, proposals: Tensor, target: dict[str, Tensor], classes: int) -> SampledRois:
        """Sample at random from the proposals P×4 and the ground-truth boxes."""
        truth = target["boxes"]
        boxes = torch.cat([truth, proposals])
        if not len(truth):
            chosen = _sample_indices(torch.arange(len(boxes), device=boxes.device), self.samples)
            return SampledRois(boxes[chosen], torch.full_like(chosen, classes), boxes[chosen])
        ious, matches = box_iou(boxes, truth).max(1)
        positives = torch.where(ious >= self.positive_iou)[0]
        positives = _sample_indices(positives, round(self.positive_fraction * self.samples))
        negatives = torch.where((ious < self.positive_iou) & (ious >= self.background_iou))[0]
        negatives = _sample_indices(negatives, self.samples - len(positives))
        chosen = torch.cat([positives, negatives])
        labels = torch.cat([target["labels"][matches[positives]], torch.full_like(negatives, classes)])
        return SampledRois(boxes[chosen], labels, truth[matches[chosen]])


def _sample_indices(indices: Tensor, number: int) -> Tensor:
    """Sample at most `number` of the indices."""
    return indices[torch.randperm(len(indices), device=indices.device)[:number]]


def encode_deltas(truth: Tensor, boxes: Tensor) -> Tensor:
    """Encode target boxes N×4 as (dx, dy, dw, dh) N×4 relative to `boxes` (Girshick 2014, appendix C)."""
    (centre, sides), (true_centre, true_sides) = _centres_and_sides(boxes), _centres_and_sides(truth)
    return torch.cat([(true_centre - centre) / sides, (true_sides / sides).log()], -1)


def decode_deltas(deltas: Tensor, boxes: Tensor) -> Tensor:
    """Decode deltas P×K×4 (see `encode_deltas`) relative to boxes P×4 → boxes P×K×4 in pixels."""
    centre, sides = _centres_and_sides(boxes[:, None])
    centre = centre + deltas[..., :2] * sides
    half = deltas[..., 2:].clamp(max=MAX_LOG_GROWTH).exp() * sides / 2
    return torch.cat([centre - half, centre + half], -1)


def _centres_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes …×4 → centres …×2 and sides …×2."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits R×(K+1) and classes R; 0 where there is no region."""
    return F.cross_entropy(logits.float(), labels, reduction="sum") / max(1, len(labels))


def box_loss(preds: Tensor, rois: SampledRois, beta: float = 1.0) -> Tensor:
    """Smooth L1 loss of the deltas of the true classes, summed over positive regions and divided by all regions.

    preds: deltas per class R×K×4, divided by DELTA_STD · beta: where the loss turns from quadratic to linear.
    """
    positives = torch.where(rois.labels < preds.shape[1])[0]
    target = encode_deltas(rois.truth[positives], rois.boxes[positives]) / preds.new_tensor(DELTA_STD)
    deltas = preds[positives, rois.labels[positives]]
    return F.smooth_l1_loss(deltas, target, beta=beta, reduction="sum") / max(1, len(rois.labels))


class DetectionFilter(NamedTuple):
    """Keeps boxes that score more than `min_score`, suppresses duplicates of a class (NMS), limits their number.

    max_iou: a box that overlaps a better one of its class by more is a duplicate · max_detections: per image.
    """

    min_score: float
    max_iou: float
    max_detections: int

    def select(self, boxes: Tensor, scores: Tensor, size: int) -> dict[str, Tensor]:
        """Boxes P×K×4 and scores P×K of K classes → the detections, best first."""
        clipped = clip_boxes_to_image(boxes.flatten(0, 1), (size, size))
        labels = torch.arange(scores.shape[1], device=scores.device).repeat(len(scores))
        flat_scores = scores.flatten()
        large_enough = (clipped[:, 2:] - clipped[:, :2] >= MIN_SIDE).all(1)
        kept = torch.where((flat_scores > self.min_score) & large_enough)[0]
        kept = kept[batched_nms(clipped[kept], flat_scores[kept], labels[kept], self.max_iou)][: self.max_detections]
        return {"boxes": clipped[kept], "labels": labels[kept], "scores": flat_scores[kept]}


def whole_image_proposals(images: Tensor) -> Tensor:
    """COUNTED_PROPOSALS×4: boxes of the whole image, for counting the network's operations."""
    return images.new_tensor([0, 0, images.shape[-1], images.shape[-1]]).expand(COUNTED_PROPOSALS, 4)


def proposals_of(targets: Sequence[dict[str, Tensor]] | None, proposals: Sequence[Tensor] | None) -> list[Tensor]:
    """Proposals P×4 per image: those passed, else those of the targets; UserError if there are none."""
    if proposals is None:
        proposals = [target["proposals"] for target in targets or () if "proposals" in target]
    if not proposals:
        raise UserError("this network needs proposals and got none; predict with pipeline.evaluate.predict")
    return list(proposals)
