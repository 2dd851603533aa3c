"""torchvision's classifiers by name: its numbers of parameters, its weights, and levels determined by running."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from pipeline import checkpoint
from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import features, level_shapes
from pipeline.models.parts.spec import Anatomy, Spec, anatomy, build_network

#: a small network of each family, the channels and strides of its stages, and its head
FAMILIES = {
    "alexnet": ({"features.1": (64, 4), "features.4": (192, 8), "features.11": (256, 16), "features.12": (256, 32)}, 6),
    "convnext_tiny": ({f"features.{at}": (96 << n, 4 << n) for n, at in enumerate((1, 3, 5, 7))}, 2),
    "densenet121": (
        {
            "features.denseblock1": (256, 4),
            "features.denseblock2": (512, 8),
            "features.denseblock3": (1024, 16),
            "features.norm5": (1024, 32),
        },
        None,
    ),
    "efficientnet_b0": (
        {"features.2": (24, 4), "features.3": (40, 8), "features.5": (112, 16), "features.8": (1280, 32)},
        1,
    ),
    "mobilenet_v3_small": (
        {"features.1": (16, 4), "features.3": (24, 8), "features.8": (48, 16), "features.12": (576, 32)},
        3,
    ),
    "regnet_x_400mf": (
        {f"trunk_output.block{n}": (width, 2 << n) for n, width in ((1, 32), (2, 64), (3, 160), (4, 400))},
        "fc",
    ),
    "resnet18": ({f"layer{n}": (32 << n, 2 << n) for n in (1, 2, 3, 4)}, "fc"),
    "shufflenet_v2_x0_5": ({"maxpool": (24, 4), "stage2": (48, 8), "stage3": (96, 16), "conv5": (1024, 32)}, "fc"),
    "squeezenet1_1": ({"features.4": (128, 4), "features.7": (256, 8), "features.12": (512, 16)}, 1),
    "vgg11": (
        {"features.9": (256, 4), "features.14": (512, 8), "features.19": (512, 16), "features.20": (512, 32)},
        6,
    ),
}


def on_meta(name: str, classes: int = 1000, channels: int = 3, size: int = 224) -> nn.Module:
    with torch.device("meta"):
        return build_network("torchvision", Spec("classification", classes, channels, size), {"name": name})


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_levels_and_head(name: str) -> None:
    network, (stages, head) = on_meta(name), FAMILIES[name]
    assert count(network, 3, 224).parameters == models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert level_shapes(network, anatomy(network).levels, 3, 224) == stages
    assert anatomy(network).head == (f"classifier.{head}" if isinstance(head, int) else head or "classifier")
    images = torch.empty(2, 3, 224, 224, device="meta")
    sides = [value.shape[-1] for value in features(network.eval(), images, anatomy(network).levels).values()]
    assert all(fine > coarse for fine, coarse in pairwise(sides))


def test_torchvisions_resnet_has_the_levels_of_ours() -> None:
    with torch.device("meta"):
        ours = build_network("resnet", Spec("classification", 10, 3, 64), {})
    assert anatomy(on_meta("resnet18")) == anatomy(ours) == Anatomy(("layer1", "layer2", "layer3", "layer4"), "fc")


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_its_weights_load_and_outputs_agree(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None, num_classes=6)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    ours = build_network("torchvision", Spec("classification", 6, 3, 64), {"name": name})
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(ours.eval()(images), theirs.eval()(images))
        assert checkpoint.start(ours, tmp_path / "w.pth") == []
        torch.testing.assert_close(ours(images), theirs(images))


def test_googlenet_reads_numbers_as_its_weights_expect_them() -> None:
    network = on_meta("googlenet", classes=4)
    assert network.transform_input
    assert not on_meta("googlenet", channels=1).transform_input
    assert not any(name.startswith("aux") for name, _ in network.named_parameters())


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "densenet121"])
def test_grey_images(name: str) -> None:
    network = on_meta(name, classes=3, channels=1, size=64)
    assert network(torch.empty(2, 1, 64, 64, device="meta")).shape == (2, 3)


@pytest.mark.parametrize("task", ["localization", "detection"])
def test_it_can_be_a_backbone(task: str) -> None:
    options = {"backbone": "torchvision", "backbone_options": {"name": "mobilenet_v3_small"}}
    architecture = {"localization": "cam", "detection": "faster_rcnn"}[task]
    with torch.device("meta"):
        network = build_network(architecture, Spec(task, 4, 3, 64), options)
    held = {name for name, _ in network.named_parameters()}
    assert any(".features.12." in name for name in held)
    assert not any(".classifier." in name for name in held)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("convnext_tny", 224, r"options\.name: no network is named 'convnext_tny'; did you mean 'convnext_tiny'"),
        ("vit_b_16", 224, r"options\.name: no network is named 'vit_b_16'"),
        ("alexnet", 32, r"size: 32 is too small for alexnet"),
    ],
)
def test_what_there_is_not(name: str, size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        on_meta(name, size=size)


def test_a_wrong_option_of_a_backbone_names_the_right_one() -> None:
    options = {"backbone": "torchvision", "backbone_options": {"nme": "resnet18"}}
    with pytest.raises(UserError, match=r"options\.backbone_options: no option is named 'nme'; did you mean 'name'"):
        build_network("cam", Spec("localization", 4, 3, 64), options)
