"""Mask R-CNN is torchvision's; its masks are aligned with their boxes, and it learns keypoints."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import detection as theirs

from pipeline.count.layers import count
from pipeline.models import mask_rcnn
from pipeline.models.parts import rcnn
from pipeline.models.parts.spec import Spec
from tests.helpers.rcnns import LOSSES, SIDE, SMALL, TARGETS, images, pair, same_state

SPEC = Spec("instance_segmentation", 4, 3, SIDE)


def with_masks() -> list[dict[str, Tensor]]:
    """The targets with full boxes as masks."""
    targets = []
    for target in TARGETS:
        masks = torch.zeros(len(target["boxes"]), SIDE, SIDE, dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(masks, target["boxes"].int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
        targets.append(target | {"masks": masks})
    return targets


def test_weights_have_torchvisions_names_and_shapes() -> None:
    with torch.device("meta"):
        ours = mask_rcnn.build(Spec("instance_segmentation", 90, 3, 800), backbone_options={"depth": 50})
        same_state(ours, theirs.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None))
    published = theirs.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.value.meta["num_params"]
    assert mask_rcnn.PAPER["parameters"] == published
    assert published - 41_755_286 == 2_646_107


def test_masks_within_boxes_are_torchvisions() -> None:
    ours, other = pair(mask_rcnn, theirs.MaskRCNN, SPEC)
    other.transform.postprocess = lambda detections, *_: detections  # before torchvision pastes them into the image
    with torch.no_grad():
        expected, detections = other.eval()(list(images())), ours.eval()(images())
    for one, two in zip(expected, detections, strict=True):
        assert two["masks"].shape == (len(one["boxes"]), 1, 28, 28)
        torch.testing.assert_close(two["masks"], one["masks"])
        torch.testing.assert_close(two["boxes"], one["boxes"])


def test_five_losses_and_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = mask_rcnn.build(SPEC, **SMALL, mask_width=8, mask_layers=2)
    losses = network.train()(images(), with_masks())
    assert set(losses) == LOSSES | {"loss_mask"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    nothing = network(images(), with_masks()[1:] * 2)
    assert float(nothing["loss_mask"].detach()) == 0


def test_the_mask_that_is_learnt_lies_in_the_middle_of_its_box() -> None:
    """torchvision alone reads a mask half a pixel off: its target for a centred square is not symmetric."""
    from torchvision.models.detection.roi_heads import project_masks_on_boxes

    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    mask[:, 20:40, 20:40] = 1
    box, first = torch.tensor([[10.0, 10, 50, 50]]), torch.zeros(1, dtype=torch.int64)
    _, (target,) = rcnn.Ready()(images(1), [{"boxes": box, "labels": first, "masks": mask}])
    ours = project_masks_on_boxes(target["masks"], box, first, 28)[0]
    torch.testing.assert_close(ours, ours.flip(0, 1))
    alone = project_masks_on_boxes(mask, box, first, 28)[0]
    assert not torch.allclose(alone, alone.flip(0, 1))


@pytest.mark.parametrize(("width", "layers"), [(8, 1), (4, 3)])
def test_the_mask_head_is_as_wide_and_deep_as_asked(width: int, layers: int) -> None:
    network: Any = mask_rcnn.build(SPEC, **SMALL, mask_width=width, mask_layers=layers)
    assert [layer[0].out_channels for layer in network.roi_heads.mask_head] == [width] * layers
    assert network.roi_heads.mask_predictor.mask_fcn_logits.out_channels == 5


POINTS = Spec("keypoint_detection", 4, 3, SIDE, keypoints=3)
FEW: dict[str, Any] = {**SMALL, "keypoint_width": 8, "keypoint_layers": 2}


def with_keypoints(visibility: float = 2) -> list[dict[str, Tensor]]:
    """The targets with three keypoints each: at a corner of the box, in its middle, and one that is not labelled."""
    targets = []
    for target in TARGETS:
        corners, visible = target["boxes"], torch.full((len(target["boxes"]), 1), visibility)
        middle = (corners[:, :2] + corners[:, 2:]) / 2
        keypoints = [torch.cat([position, visible], 1) for position in (corners[:, 2:], middle)]
        targets.append(target | {"keypoints": torch.stack([*keypoints, torch.zeros(len(corners), 3)], 1)})
    return targets


def test_with_keypoints_weights_have_torchvisions_names_shapes_and_number() -> None:
    with torch.device("meta"):
        spec = Spec("keypoint_detection", 1, 3, 800, keypoints=17)
        ours = mask_rcnn.build(spec, backbone_options={"depth": 50})
        same_state(ours, theirs.keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None))
        frozen = mask_rcnn.build(spec, backbone_options={"depth": 50}, frozen_norm=True)
    published = theirs.KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.value.meta["num_params"]
    assert sum(value.numel() for value in frozen.parameters()) == published == 59_137_258


def test_keypoints_are_torchvisions() -> None:
    def keypoint_rcnn(backbone: Any, **settings: Any) -> Any:
        return theirs.KeypointRCNN(backbone, **settings, num_keypoints=3)

    ours, other = pair(mask_rcnn, keypoint_rcnn, POINTS)
    other.transform.postprocess = lambda detections, *_: detections
    shifted = [target | {"labels": target["labels"] + 1} for target in with_keypoints()]
    torch.manual_seed(1)
    expected = other.train()(list(images()), shifted)
    torch.manual_seed(1)
    losses = ours.train()(images(), with_keypoints())
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    assert losses["loss_keypoint"] > 1
    with torch.no_grad():
        expected, detections = other.eval()(list(images())), ours.eval()(images())
    for one, two in zip(expected, detections, strict=True):
        assert two["keypoints"].shape == (len(one["boxes"]), 3, 3)
        assert len(one["boxes"])
        for name in ("boxes", "keypoints", "keypoints_scores"):
            torch.testing.assert_close(two[name], one[name])


def test_keypoints_have_a_loss_and_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = mask_rcnn.build(POINTS, **FEW)
    losses = network.train()(images(), with_keypoints())
    assert set(losses) == LOSSES | {"loss_keypoint"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    "targets", [with_keypoints()[1:] * 2, with_keypoints(0)], ids=["nothing there", "none labelled"]
)
def test_a_batch_without_labelled_keypoints_has_a_loss_of_0(targets: list[dict[str, Tensor]]) -> None:
    losses = mask_rcnn.build(POINTS, **FEW).train()(images(), targets)
    sum(losses.values()).backward()
    assert float(losses["loss_keypoint"].detach()) == 0
    assert all(bool(value.detach().isfinite()) for value in losses.values())


@pytest.mark.parametrize(("width", "layers"), [(8, 1), (4, 3)])
def test_the_keypoint_head_is_as_wide_and_deep_as_asked(width: int, layers: int) -> None:
    network: Any = mask_rcnn.build(POINTS, **SMALL, keypoint_width=width, keypoint_layers=layers)
    assert [layer.out_channels for layer in list(network.roi_heads.keypoint_head)[::2]] == [width] * layers
    assert network.roi_heads.keypoint_predictor.out_channels == 3
    assert not network.roi_heads.has_mask()


def test_the_heatmaps_of_all_detections_are_counted() -> None:
    """Two 3×3 convolutions of 8 channels on 14×14 cells, and 4×4 transposed ones to 3 keypoints, of 100 detections."""
    with torch.device("meta"):
        small, more = (mask_rcnn.build(POINTS, **SMALL, keypoint_width=8, keypoint_layers=layers) for layers in (1, 2))
    first, second = (count(network, 3, SIDE, rcnn.trace_instances).multiply_adds for network in (small, more))
    assert second - first == 100 * 14 * 14 * 8 * 8 * 9
