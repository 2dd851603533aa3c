"""torchvision's detectors and segmenters by name: its parameters, its names of weights, and what comes out of it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models.detection import fcos, retinanet

from pipeline import checkpoint
from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.learners.base import Settings
from pipeline.models import mask_rcnn, torchvision
from pipeline.models.parts import torchvision_detection
from pipeline.models.parts.spec import Spec, build_network
from pipeline.pretrained_weights import normalization
from pipeline.tasks import detection
from tests.helpers.torchvisions import unsettled

#: published with batch normalisation as it was loaded, whose scales are no parameters then
FROZEN = {
    "fasterrcnn_resnet50_fpn": True,
    "fasterrcnn_resnet50_fpn_v2": False,
    "fasterrcnn_mobilenet_v3_large_fpn": True,
    "fasterrcnn_mobilenet_v3_large_320_fpn": True,
    "retinanet_resnet50_fpn": True,
    "retinanet_resnet50_fpn_v2": False,
    "fcos_resnet50_fpn": True,
    "ssd300_vgg16": False,
    "ssdlite320_mobilenet_v3_large": False,
    "maskrcnn_resnet50_fpn": True,
    "maskrcnn_resnet50_fpn_v2": False,
}
#: numbers of the auxiliary head: a 3×3 convolution of 1024 maps, or of MobileNet's 40, its normalisation, 21 classes
AUXILIARY = {
    "fcn_resnet50": 1024 * 256 * 9 + 2 * 256 + 257 * 21,
    "deeplabv3_resnet50": 1024 * 256 * 9 + 2 * 256 + 257 * 21,
    "deeplabv3_mobilenet_v3_large": 40 * 10 * 9 + 2 * 10 + 11 * 21,
    "lraspp_mobilenet_v3_large": 0,
}
SIDE = 96
SPEC = Spec("detection", 4, 3, SIDE)
SSDLITE = {"name": "ssdlite320_mobilenet_v3_large"}
SETTINGS = Settings(tuple("abcd"), (), (1,) * 4, 3, SIDE, (0.5,) * 3, (0.25,) * 3)
TARGETS = [
    {"boxes": torch.tensor([[10.0, 10, 50, 40], [60, 50, 90, 90]]), "labels": torch.tensor([0, 3])},
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
]


def on_meta(task: str, classes: int, size: int = 320, channels: int = 3, **options: Any) -> Any:
    with torch.device("meta"):
        return build_network("torchvision", Spec(task, classes, channels, size), options)


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def task_of(name: str) -> str:
    return "instance_segmentation" if name.startswith("maskrcnn") else "detection"


def test_the_list_is_torchvisions() -> None:
    both = [name for masks in (False, True) for name in torchvision_detection.names(masks=masks)]
    assert set(both) == set(FROZEN)
    assert set(models.list_models(module=models.detection)) - set(both) == {"keypointrcnn_resnet50_fpn"}


@pytest.mark.parametrize("name", FROZEN)
def test_detectors_have_torchvisions_parameters_and_names(name: str) -> None:
    """COCO's 91 with background; weights and buffers of a fresh network, which normalises by its batches."""
    network = on_meta(task_of(name), 90, name=name, frozen_norm=FROZEN[name])
    found = count(network, 3, 320, torchvision.trace)
    assert found.parameters == models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert found.multiply_adds > 1e8
    with torch.device("meta"):
        theirs = models.get_model(name, weights=None, weights_backbone=None, num_classes=91)
    assert shapes(on_meta(task_of(name), 90, name=name)) == shapes(theirs)


@pytest.mark.parametrize("name", AUXILIARY)
def test_segmenters_have_torchvisions_parameters_and_names(name: str) -> None:
    network = on_meta("segmentation", 21, name=name)
    published = models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert count(network, 3, 320, torchvision.trace).parameters == published - AUXILIARY[name]
    with torch.device("meta"):
        theirs = models.get_model(name, weights=None, weights_backbone=None, num_classes=21)
    assert shapes(network) == shapes(theirs)
    assert network(torch.empty(2, 3, 64, 96, device="meta")).shape == (2, 21, 64, 96)


def test_a_detector_answers_and_learns_as_torchvisions() -> None:
    torch.manual_seed(0)
    theirs: Any = unsettled(models.get_model(SSDLITE["name"], weights=None, weights_backbone=None, num_classes=5))
    theirs.transform.image_mean, theirs.transform.image_std = [0.0] * 3, [1.0] * 3
    theirs.transform.resize = lambda image, target: (image, target)
    ours: Any = build_network("torchvision", SPEC, SSDLITE)
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        expected, found = theirs.eval()(list(images)), ours.eval()(images)
    for one, two in zip(expected, found, strict=True):
        assert 0 < len(two["scores"]) <= 300
        torch.testing.assert_close(two["boxes"], one["boxes"])
        assert torch.equal(two["labels"], one["labels"] - 1)
    shifted = [target | {"labels": target["labels"] + 1} for target in TARGETS]
    theirs.train(), ours.train()
    theirs.load_state_dict(ours.state_dict())
    losses, other = ours(images, TARGETS), theirs(list(images), shifted)
    assert set(losses) == {"bbox_regression", "classification"}
    for name, value in other.items():
        torch.testing.assert_close(losses[name], value)


def test_a_learner_of_one_and_fewer_detections() -> None:
    torch.manual_seed(0)
    learner = detection.learner(build_network("torchvision", SPEC, {**SSDLITE, "detections": 7}), SETTINGS)
    images = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    sum(learner.train()(images, TARGETS).values()).backward()
    assert all(parameter.grad is not None for parameter in learner.parameters())
    with torch.inference_mode():
        found = learner.eval()(images)
    assert [len(item.scores) for item in found] == [7, 7]
    assert all(((item.labels >= 0) & (item.labels < 4)).all() for item in found)


def test_a_segmenter_answers_as_torchvisions() -> None:
    torch.manual_seed(0)
    name = "lraspp_mobilenet_v3_large"
    theirs = unsettled(models.get_model(name, weights=None, weights_backbone=None, num_classes=4)).eval()
    ours = build_network("torchvision", Spec("segmentation", 4, 3, 64), {"name": name}).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images)["out"])


def test_background_is_no_answer() -> None:
    labels = torch.tensor([1, 0, 4])
    given = {"boxes": torch.arange(12.0).view(3, 4), "labels": labels, "scores": torch.tensor([0.9, 0.8, 0.7])}
    (found,) = torchvision_detection.Things().postprocess([given], None, None)
    assert found["labels"].tolist() == [0, 3]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7])
    assert found["boxes"].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn"])
def test_how_many_an_image_gets_at_most(name: str) -> None:
    network = on_meta("detection", 2, name=name, detections=50)
    assert getattr(network, "roi_heads", network).detections_per_img == 50


@pytest.mark.parametrize(("task", "name"), [("detection", "fcos_resnet50_fpn"), ("segmentation", "fcn_resnet50")])
def test_grey_images(task: str, name: str) -> None:
    network = on_meta(task, 2, channels=1, name=name)
    torchvision.trace(network.eval(), torch.empty(1, 1, 64, 64, device="meta"))


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("detection", {"name": "retinanet_resnet50"}, "did you mean 'retinanet_resnet50_fpn'"),
        ("detection", {"name": "keypointrcnn_resnet50_fpn"}, "no network is named"),
        ("detection", {"name": "maskrcnn_resnet50_fpn"}, "no network is named"),
        ("instance_segmentation", {"name": "fasterrcnn_resnet50_fpn"}, "no network is named"),
        ("segmentation", {"name": "resnet18"}, "no network is named"),
        ("classification", {"name": "resnet18", "detections": 7}, "resnet18 detects nothing"),
        ("detection", {"name": "ssd300_vgg16"}, "size: 64 is too small for ssd300_vgg16"),
    ],
)
def test_what_there_is_not(task: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        on_meta(task, 4, size=64, **options)


@pytest.mark.parametrize(
    ("weights", "mean", "std"),
    [
        ("SSD300_VGG16_Weights.COCO_V1", 0.48235, 1 / 255),
        ("SSDLite320_MobileNet_V3_Large_Weights.COCO_V1", 0.5, 0.5),
        ("FasterRCNN_ResNet50_FPN_Weights.COCO_V1", 0.485, 0.229),
        ("FCN_ResNet50_Weights.DEFAULT", 0.485, 0.229),
    ],
)
def test_published_weights_bring_their_normalisation(weights: str, mean: float, std: float) -> None:
    found = normalization(weights)
    assert (found[0][0], found[1][0]) == pytest.approx((mean, std))


class Holder(nn.Module):
    """A head at its place in a detector."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head


def masker() -> nn.Module:
    small: dict[str, Any] = {"backbone_options": {"width": 8}, "width": 16, "head_width": 32, "mask_width": 8}
    return mask_rcnn.build(Spec("instance_segmentation", 4, 3, SIDE), **small)


#: networks whose published files are older than their layers' names, and how these were called
OLD: dict[str, tuple[Callable[[], nn.Module], list[tuple[str, Any]], int]] = {
    "mask_rcnn": (
        masker,
        [
            (r"_blocks\.(\d)\.0\.", r"_blocks.\1."),
            (r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
            *((rf"mask_head\.{n}\.0\.", f"mask_head.mask_fcn{n + 1}.") for n in range(4)),
        ],
        16 + 2 + 8,
    ),
    "retinanet": (
        lambda: Holder(retinanet.RetinaNetHead(8, 3, 2)),
        [(r"conv\.(\d)\.0\.", lambda match: f"conv.{2 * int(match[1])}.")],
        16,
    ),
    "fcos": (lambda: Holder(fcos.FCOSHead(32, 1, 2)), [], 0),
}


@pytest.mark.parametrize("name", OLD)
def test_older_names_of_published_files_are_todays(name: str, tmp_path: Path) -> None:
    make, changes, number = OLD[name]
    torch.manual_seed(0)
    theirs, ours = make(), make()
    state: dict[str, Tensor] = {}
    for place, value in theirs.state_dict().items():
        old = place
        for pattern, text in changes:
            old = re.sub(pattern, text, old)
        state[old] = value.contiguous()
    assert len(set(state) - set(theirs.state_dict())) == number
    save_file(state, tmp_path / "old.safetensors")
    assert checkpoint.start(ours, tmp_path / "old.safetensors") == []
    expected = theirs.state_dict()
    assert all(torch.equal(value, expected[place]) for place, value in ours.state_dict().items())
