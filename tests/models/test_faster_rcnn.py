"""Faster R-CNN is torchvision's, on any classifier of the folder."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import detection as theirs

from pipeline import checkpoint
from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.models import faster_rcnn, resnet
from pipeline.models.parts.spec import Spec
from tests.helpers.rcnns import LOSSES, SIDE, SMALL, TARGETS, images, pair, same_state

SPEC = Spec("detection", 4, 3, SIDE)


def test_weights_have_torchvisions_names_and_shapes() -> None:
    with torch.device("meta"):
        ours = faster_rcnn.build(Spec("detection", 90, 3, 800), backbone_options={"depth": 50})
        same_state(ours, theirs.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None))


def test_on_resnet_50_it_counts_as_torchvisions_does() -> None:
    with torch.device("meta"):
        ours = faster_rcnn.build(Spec("detection", 90, 3, 800), backbone_options={"depth": 50}, frozen_norm=True)
    weights = theirs.FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    assert sum(value.numel() for value in ours.parameters()) == weights.meta["num_params"]


def small_paper() -> Any:
    """The paper's settings on a narrow VGG: its own hidden layers are the head, and an anchor has two logits."""
    narrow: dict[str, Any] = {
        "backbone": "vgg",
        "backbone_options": {"config": "A", "width": 8, "head_width": 24, "dropout": 0},
    }
    own: dict[str, Any] = {"levels": ["features.conv5"], "pyramid": False, "head": "backbone", "objectness": "softmax"}
    torch.manual_seed(0)
    return faster_rcnn.build(SPEC, **narrow, **own, anchors=[24, 48], proposals=20, samples=16)


def test_two_logits_per_anchor_are_the_softmax_of_an_object() -> None:
    head = small_paper().rpn.head
    feature_maps = torch.rand(2, head.conv[0][0].in_channels, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (score,), (deltas,) = head([feature_maps])
        background, foreground = head.cls_logits(head.conv(feature_maps)).chunk(2, 1)
    assert score.shape == (2, 6, 6, 6)
    assert deltas.shape == (2, 24, 6, 6)
    torch.testing.assert_close(score.sigmoid(), torch.stack([background, foreground]).softmax(0)[1])


def test_a_classifiers_own_layers_are_the_head_once_and_a_copys_are_its_own() -> None:
    network = small_paper()
    names = [name for name in network.state_dict() if "classifier" in name]
    assert names == [f"backbone.body.classifier.{index}.{kind}" for index in (0, 3) for kind in ("weight", "bias")]
    pooled = torch.rand(3, network.backbone.out_channels, 3, 3)
    head = network.roi_heads.box_head
    assert head.cells == 3
    before = head(pooled)
    assert before.shape == (3, 24)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        copied.backbone.body.classifier[0].weight.zero_()
    assert torch.equal(head(pooled), before)
    assert not torch.equal(copied.roi_heads.box_head(pooled), before)
    sum(network.train()(images(), TARGETS).values()).backward()
    assert all(value.grad is not None for value in network.parameters())


def test_losses_and_detections_are_torchvisions() -> None:
    ours, other = pair(faster_rcnn, theirs.FasterRCNN, SPEC)
    shifted = [target | {"labels": target["labels"] + 1} for target in TARGETS]
    torch.manual_seed(1)
    expected = other.train()(list(images()), shifted)
    torch.manual_seed(1)
    losses = ours.train()(images(), TARGETS)
    assert set(losses) == LOSSES
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    with torch.no_grad():
        expected, detections = other.eval()(list(images())), ours.eval()(images())
    for one, two in zip(expected, detections, strict=True):
        assert len(one["scores"])
        torch.testing.assert_close(two["boxes"], one["boxes"])
        torch.testing.assert_close(two["scores"], one["scores"])
        assert torch.equal(two["labels"], one["labels"] - 1)


def test_multiply_adds_are_those_that_torchvision_publishes() -> None:
    """134.38 billion, for an image of 800×800 and 1,000 proposals."""
    with torch.device("meta"):
        network = faster_rcnn.build(Spec("detection", 90, 3, 800), backbone_options={"depth": 50}, frozen_norm=True)
    counted = count(network, 3, 800, faster_rcnn.trace)
    published = theirs.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.value.meta
    assert counted.multiply_adds / 1e9 == pytest.approx(published["_ops"], abs=0.01)
    assert counted.parameters == published["num_params"]


def test_a_trained_classifier_fills_the_backbone(tmp_path: Path) -> None:
    classifier = resnet.build(Spec("classification", 10, 3, 32), width=8)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    network: Any = faster_rcnn.build(SPEC, **SMALL)
    left = checkpoint.start(network, tmp_path)
    assert sorted(left) == ["fc.bias", "fc.weight"]
    body = network.backbone.body.state_dict()
    assert list(body) == [name for name in classifier.state_dict() if not name.startswith("fc")]
    assert all(torch.equal(value, classifier.state_dict()[name]) for name, value in body.items())
    frozen: Any = faster_rcnn.build(SPEC, **SMALL, frozen_norm=True)
    checkpoint.start(frozen, tmp_path)
    assert torch.equal(frozen.backbone.body.bn1.weight, classifier.get_parameter("bn1.weight"))
    assert "backbone.body.bn1.weight" not in dict(frozen.named_parameters())


@pytest.mark.parametrize(
    ("options", "sizes", "feature_maps"),
    [
        ({}, ((32,), (64,), (128,), (256,), (512,)), 5),
        ({"levels": ["layer2", "layer3"]}, ((64,), (128,), (256,)), 3),
        ({"pyramid": False, "levels": ["layer3"]}, ((128, 256, 512),), 1),
        ({"pyramid": False, "anchors": [10, 20]}, ((10, 20),), 1),
    ],
)
def test_levels_and_anchors(options: dict[str, Any], sizes: Any, feature_maps: int) -> None:
    network: Any = faster_rcnn.build(SPEC, **SMALL | {"anchors": None} | options)
    assert network.rpn.anchor_generator.sizes == sizes
    assert len(network.backbone(images())) == feature_maps
    assert not any(name.startswith("backbone.body.layer4") for name, _ in network.named_parameters()) or "4" in str(
        options.get("levels", "4")
    )


@pytest.mark.parametrize("options", [{}, {"pyramid": False, "anchors": [8, 16]}])
def test_another_classifier_as_backbone(options: dict[str, Any]) -> None:
    small = SMALL | {"backbone": "lenet5", "backbone_options": {}, "levels": ["c3", "c5"], "anchors": None}
    network = faster_rcnn.build(Spec("detection", 4, 1, SIDE), **small | options)
    assert not [name for name, _ in network.named_parameters() if "f6" in name or "output" in name]
    losses = network.train()(images(channels=1), TARGETS)
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    detections = network.eval()(images(channels=1))
    assert [set(item) for item in detections] == [{"boxes", "labels", "scores"}] * 2


def test_an_image_gets_at_most_the_detections_asked_for() -> None:
    def most(**options: int) -> int:
        torch.manual_seed(0)
        network: Any = faster_rcnn.build(SPEC, **SMALL | options).eval()
        network.roi_heads.score_thresh = 0.0
        with torch.no_grad():
            return max(len(detections["scores"]) for detections in network(images()))

    assert most(detections=3) == 3 < most() <= 100


def test_images_without_objects_have_finite_losses() -> None:
    losses = faster_rcnn.build(SPEC, **SMALL).train()(images(), [TARGETS[1]] * 2)
    assert set(losses) == LOSSES
    assert all(bool(loss.isfinite()) for loss in losses.values())
    assert float(losses["loss_box_reg"].detach()) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": ["layer9"]}, r"options\.levels: \['layer9'\] are not levels of resnet"),
        ({"backbone": "lenet6"}, "no architecture is named 'lenet6'; did you mean 'lenet5'"),
        ({"backbone": "linear", "backbone_options": {}}, "linear has no LEVELS"),
        ({"anchors": [8, 16]}, r"options\.anchors: 2 sides for 5 levels"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        faster_rcnn.build(SPEC, **SMALL | options)
