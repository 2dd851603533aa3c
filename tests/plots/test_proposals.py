"""Figures of proposals: recall by hand, which networks have them, and captions that do not overlap."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.learners.base import Settings
from pipeline.learners.batch import stack
from pipeline.learners.detector import Detector
from pipeline.models import fast_rcnn, faster_rcnn, mask_rcnn, rcnn, template, yolo
from pipeline.models.parts.spec import Spec
from pipeline.plots import proposals
from pipeline.sample import Sample, resized

SIDE = 64
SETTINGS = Settings(("a", "b"), (), (1, 1), 3, SIDE, (0.5,) * 3, (0.25,) * 3)
TRUTH = np.array([[4.0, 8, 24, 28], [80, 10, 120, 50], [40, 40, 60, 60]], np.float32)
#: two images: the second proposal covers the first object; the third covers the second, by 0.6; none covers the third
OVERLAPS = [
    np.array([[0.1, 0.0], [0.8, 0.2], [0.5, 0.6]]),
    np.array([[0.4]]),
]
BODY: dict[str, Any] = {"backbone": "resnet", "backbone_options": {"width": 8}, "head_width": 16}
OWN: dict[str, Any] = {**BODY, "width": 16, "proposals": 30, "samples": 8}


def sample(**changes: Any) -> Sample:
    """72 by 144 pixels: wider than high, so that boxes of the network's square input have to come back."""
    pixels = np.random.default_rng(0).integers(0, 256, (72, 144, 3), np.uint8)
    return Sample("a", pixels, boxes=TRUTH, labels=np.array([0, 1, 1]), **changes)


def detector(module: Any, task: str = "detection", **options: Any) -> Detector:
    torch.manual_seed(0)
    return Detector(module.build(Spec(task, 2, 3, SIDE), **options), SETTINGS).eval()


def test_recall_by_hand() -> None:
    assert proposals.ranks(OVERLAPS[0], 0.5).tolist() == [2, 3]
    assert proposals.ranks(OVERLAPS[0], 0.7).tolist() == [2, np.inf]
    assert proposals.recall(OVERLAPS, 0.5).tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    assert proposals.recall(OVERLAPS, 0.7).tolist() == pytest.approx([0, 1 / 3, 1 / 3])
    assert proposals.recall(OVERLAPS, 0.4).tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert proposals.recall(OVERLAPS, 0.9).tolist() == [0, 0, 0]


def test_an_image_without_proposals_covers_nothing() -> None:
    assert proposals.recall([np.zeros((0, 2)), np.ones((1, 2))], 0.5).tolist() == [0.5]
    assert proposals.recall([np.zeros((0, 2))], 0.5).tolist() == []
    assert set(proposals.figures(detector(yolo), [sample(proposals=np.zeros((0, 4), np.float32))])) == {
        "proposals",
        "recall-of-proposals",
    }


@pytest.mark.parametrize(("module", "options"), [(fast_rcnn, {}), (rcnn, {"window": 32})], ids=["fast", "rcnn"])
def test_proposals_that_come_with_the_samples(module: Any, options: dict[str, Any]) -> None:
    figures = proposals.figures(detector(module, backbone="lenet5", **options), [sample(proposals=TRUTH[:2] + 1)])
    picture, curve = figures["proposals"].axes[0], figures["recall-of-proposals"].axes[0]
    assert picture.get_title() == "2 proposals cover 2 of 3"
    # the third is not covered at all: it has no best proposal
    assert [text.get_text() for text in picture.texts] == ["0.82", "0.90"]
    first, half = (np.asarray(line.get_ydata()).tolist() for line in curve.lines)
    assert first == half == pytest.approx([1 / 3, 2 / 3])
    assert curve.get_xscale() == "log"


@pytest.mark.parametrize(
    ("module", "task"), [(faster_rcnn, "detection"), (mask_rcnn, "instance_segmentation")], ids=["faster", "mask"]
)
def test_proposals_of_a_region_proposal_network_are_those_its_head_classifies(module: Any, task: str) -> None:
    learner = detector(module, task, **OWN)
    classified: list[torch.Tensor] = []
    heads: Any = learner.network.roi_heads
    heads.register_forward_pre_hook(lambda _, inputs: classified.append(inputs[1][0]))
    (boxes,) = proposals.proposals_of(learner, [sample()])
    learner(stack([resized(sample(), SIDE, SIDE)], 3))
    np.testing.assert_allclose(boxes, classified[0].numpy() * ([144 / SIDE, 72 / SIDE] * 2), rtol=1e-5)
    assert 0 < len(boxes) <= 30
    assert set(proposals.figures(learner, [sample(), sample()])) == {"proposals", "recall-of-proposals"}


@pytest.mark.parametrize("module", [yolo, template])
def test_a_network_without_proposals_has_no_picture_of_them(module: Any) -> None:
    assert proposals.figures(detector(module), [sample()]) == {}


def test_images_without_objects_and_ignored_objects() -> None:
    none = sample(proposals=TRUTH)
    empty = dataclasses.replace(none, boxes=TRUTH[:0], labels=np.zeros(0, np.int64))
    hard = dataclasses.replace(none, difficult=np.array([True, False, False]))
    learner = detector(yolo)
    assert proposals.figures(learner, []) == proposals.figures(learner, [empty]) == {}
    figure = proposals.figures(learner, [empty, hard])["recall-of-proposals"]
    assert figure.axes[0].get_title() == "held-out images: 1, objects: 2, proposals: 3 (median)"


def test_captions_cover_no_other_and_stay_inside() -> None:
    taken: list[Any] = []
    size, end = np.array([20.0, 10]), np.array([100, 60])
    box = np.array([30.0, 2, 60, 40], np.float32)
    positions = [proposals.free_position(box, taken, end, size) for _ in range(3)]
    assert positions == [
        (30, 0),
        (30, 40),
        None,
    ]  # without room above, inside; then below; the others would cover these
    beside = proposals.free_position(box + np.array([20, 0, 20, 0], np.float32), taken, end, size)
    assert beside == (50, 0)  # they may touch
    corner = proposals.free_position(np.array([95, 55, 99, 59], np.float32), taken, end, size)
    assert corner == (80, 45)
