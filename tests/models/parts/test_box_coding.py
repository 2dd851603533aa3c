"""Sampling of proposals, encoding of boxes and filtering of detections: by hand, and as torchvision does it."""

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import fastrcnn_loss

from pipeline.errors import UserError
from pipeline.models.parts.box_coding import (
    DELTA_STD,
    DetectionFilter,
    RoiSampler,
    SampledRois,
    box_loss,
    decode_deltas,
    encode_deltas,
    proposals_of,
)

#: two objects, of classes 2 and 0; the proposals cover 50, 49, 11 and 9 % of the first, and the last two nothing
TARGET = {"boxes": torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]]), "labels": torch.tensor([2, 0])}
PROPOSALS = torch.tensor(
    [[0, 0, 10, 5], [0, 0, 10, 4.9], [0, 0, 10, 1.1], [0, 0, 10, 0.9], [20, 20, 30, 30], [20, 0, 30, 9]]
)


def rows(values: Tensor) -> list[tuple[float, ...]]:
    return sorted(tuple(round(value, 3) for value in row) for row in values.tolist())


def test_ious_decide_the_class_of_a_proposal() -> None:
    rois = RoiSampler(samples=100, positive_fraction=0.25, positive_iou=0.5, background_iou=0.1).sample(
        PROPOSALS, TARGET, classes=3
    )
    labels_of_boxes = dict(zip(map(tuple, rois.boxes.tolist()), rois.labels.tolist(), strict=True))
    assert {box: label for box, label in labels_of_boxes.items() if label < 3} == {
        (0, 0, 10, 10): 2,
        (50, 50, 60, 60): 0,
        (0, 0, 10, 5): 2,
    }
    assert rows(rois.boxes[rois.labels == 3]) == rows(PROPOSALS[1:3])
    assert rows(rois.truth[rois.labels == 2]) == [(0, 0, 10, 10)] * 2
    every = RoiSampler(samples=100, positive_fraction=0.25, positive_iou=0.5, background_iou=0.0).sample(
        PROPOSALS, TARGET, classes=3
    )
    assert rows(every.boxes[every.labels == 3]) == rows(PROPOSALS[1:])


def test_at_most_a_quarter_is_positive_and_every_proposal_is_sampled_in_time() -> None:
    torch.manual_seed(0)
    sampled: set[tuple[float, ...]] = set()
    for _ in range(30):
        rois = RoiSampler(samples=4, positive_fraction=0.25, positive_iou=0.5, background_iou=0.0).sample(
            PROPOSALS, TARGET, classes=3
        )
        assert (rois.labels < 3).sum() == 1
        assert len(rois.labels) == 4
        sampled |= set(rows(rois.boxes))
    assert len(sampled) == 8


def test_an_image_without_objects_is_background() -> None:
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    rois = RoiSampler(samples=4, positive_fraction=0.25, positive_iou=0.5, background_iou=0.1).sample(
        PROPOSALS, target, classes=3
    )
    assert rois.labels.tolist() == [3] * 4
    assert float(box_loss(torch.ones(4, 3, 4), rois)) == 0


def test_deltas_are_the_shift_and_the_growth_of_a_box() -> None:
    """Half a width to the right, half a height down, as wide, and twice as high."""
    proposal, truth = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 15, 40]])
    deltas = encode_deltas(truth, proposal)
    torch.testing.assert_close(deltas, torch.tensor([[0.5, 0.5, 0.0, log(2)]]))
    both = torch.stack([deltas, torch.zeros(1, 4)], 1)
    torch.testing.assert_close(decode_deltas(both, proposal), torch.stack([truth, proposal], 1))


def test_deltas_are_torchvisions() -> None:
    """Also beyond the largest growth."""
    _, rois = random_rois()
    theirs = BoxCoder((1.0, 1.0, 1.0, 1.0))
    torch.testing.assert_close(encode_deltas(rois.truth, rois.boxes), theirs.encode_single(rois.truth, rois.boxes))
    deltas = 3 * torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(2))
    expected = theirs.decode_single(deltas.flatten(1), rois.boxes).view(6, 3, 4)
    torch.testing.assert_close(decode_deltas(deltas, rois.boxes), expected, rtol=1e-3, atol=1e-2)


def random_rois() -> tuple[Tensor, SampledRois]:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(12, 2, 2, generator=generator) * 20
    boxes = torch.cat([corners[:, 0], corners[:, 0] + 5 + corners[:, 1]], 1)
    labels = torch.tensor([0, 1, 2, 3, 3, 3])  # 3 is background
    return torch.randn(6, 3, 4, generator=generator), SampledRois(boxes[:6], labels, boxes[6:])


def test_the_loss_of_boxes_is_torchvisions() -> None:
    """In torchvision background is class 0, and the loss turns linear at 1/9."""
    preds, rois = random_rois()
    theirs = torch.cat([torch.zeros(6, 1, 4), preds], 1).flatten(1)
    target = encode_deltas(rois.truth, rois.boxes) / torch.tensor(DELTA_STD)
    _, expected = fastrcnn_loss(torch.zeros(6, 4), theirs, [(rois.labels + 1) % 4], [target])
    torch.testing.assert_close(box_loss(preds, rois, beta=1 / 9), expected)
    assert abs(float(box_loss(preds, rois)) - float(expected)) > 0.01


def test_the_loss_of_boxes_by_hand() -> None:
    """Errors of 0.5 and 3 are 0.125 and 2.5; one of two regions is positive."""
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 2)
    deltas = torch.zeros(2, 1, 4)
    deltas[0, 0, :2] = torch.tensor([0.5, 3.0])
    assert float(box_loss(deltas, SampledRois(boxes, torch.tensor([0, 1]), boxes))) == pytest.approx(2.625 / 2)


def test_detections_are_the_best_of_overlapping_boxes_of_a_class() -> None:
    """Of the first class the second box overlaps the first by 80 %, and the third, clipped at the border, by 40 %."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [-5, 0, 4, 10], [20, 20, 30, 30], [40, 40, 40, 50]])
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.3], [0.7, 0.0], [0.02, 0.6], [0.95, 0.95]])
    every = boxes[:, None].expand(-1, 2, 4)
    preds = DetectionFilter(min_score=0.05, max_iou=0.3, max_detections=10).select(every, scores, 28)
    assert preds["labels"].tolist() == [0, 1, 1]
    assert preds["boxes"].tolist() == [[0, 0, 10, 10], [20, 20, 28, 28], [0, 0, 10, 8]]
    torch.testing.assert_close(preds["scores"], torch.tensor([0.9, 0.6, 0.3]))
    assert len(DetectionFilter(0.05, 0.5, 10).select(every, scores, 28)["labels"]) == 4
    assert DetectionFilter(0.05, 0.3, 2).select(every, scores, 28)["labels"].tolist() == [0, 1]


def test_missing_proposals_are_an_error() -> None:
    target: Any = {"proposals": PROPOSALS}
    assert proposals_of([target], None)[0] is PROPOSALS
    assert proposals_of([target], [TARGET["boxes"]])[0] is TARGET["boxes"]
    with pytest.raises(UserError, match="needs proposals and got none"):
        proposals_of([TARGET], None)
