"""CAM: activation maps whose means are the logits, on any level of a classifier, without unused layers behind it."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models import cam, resnet
from pipeline.models.parts import layers
from pipeline.models.parts.feature_maps import features
from pipeline.models.parts.spec import Spec

SMALL = {"backbone_options": {"depth": 20, "width": 4}, "width": 8}
CLASSIFIERS = [
    name
    for name in plugins.names("models")
    if plugins.constant("models", name, "LEVELS") and "classification" in plugins.constant("models", name, "TASKS")
]


def build(classes: int = 10, size: int = 32, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return cam.build(Spec("localization", classes, 3, size), **{**SMALL, **options})


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_head_has_the_published_parameters() -> None:
    """VGG16-CAM as released has 18,099,008, of which VGG-16's convolutions are 14,714,688."""
    with torch.device("meta"):
        network = build(1000, 224, backbone_options={"depth": 18}, width=1024, group=2)
    head = parameters(network.get_submodule("conv")) + parameters(network.get_submodule("maps"))
    assert head == 18_099_008 - 14_714_688
    classifier = 512 * 1000 + 1000
    assert parameters(network.get_submodule("backbone")) == 11_689_512 - classifier
    ungrouped = build(1000, 224, backbone_options={"depth": 18}, width=1024)
    head = parameters(ungrouped.get_submodule("conv")) + parameters(ungrouped.get_submodule("maps"))
    assert head == 20_458_304 - 14_714_688


def test_the_means_of_class_activation_maps_are_the_logits() -> None:
    """The paper averages the convolution's feature maps and applies a linear layer without bias."""
    network = build().eval()
    images = torch.randn(2, 3, 32, 32)
    output = network(images)
    body, conv = network.get_submodule("backbone"), network.get_submodule("conv")
    maps = F.relu(conv(features(body, images, ["layer4"])["layer4"]))
    weight = network.get_parameter("maps.weight").flatten(1)
    torch.testing.assert_close(output["logits"], F.linear(maps.mean((2, 3)), weight))
    torch.testing.assert_close(output["maps"], torch.einsum("kc,bchw->bkhw", weight, maps))


@pytest.mark.parametrize(("level", "side"), [("layer1", 32), ("layer2", 16), ("layer3", 8), (None, 8)])
def test_an_earlier_level_gives_finer_maps(level: str | None, side: int) -> None:
    network = build(level=level)
    output = network(torch.zeros(2, 3, 32, 32))
    assert output["maps"].shape == (2, 10, side, side)
    assert output["logits"].shape == (2, 10)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_any_classifier_is_a_backbone(name: str) -> None:
    size = (plugins.constant("models", name, "PAPER") or {"input": [3, 32, 32]})["input"][1]
    with torch.device("meta"):
        network = build(4, size, backbone=name, backbone_options={}).train()
        output = network(torch.empty(2, 3, size, size))
        output["logits"].sum().backward()
    assert output["logits"].shape == (2, 4)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_backbone_keeps_its_names_and_weights() -> None:
    spec = Spec("localization", 10, 3, 32)
    torch.manual_seed(0)
    body = layers.backbone("resnet", spec, {"depth": 20, "width": 4}, ["layer2"])
    torch.manual_seed(0)
    whole = resnet.build(spec, depth=20, width=4)
    kept, state = body.state_dict(), whole.state_dict()
    assert set(kept) == {name for name in state if not name.startswith(("layer3", "fc"))}
    assert all(torch.equal(kept[name], state[name]) for name in kept)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(features(body, images, ["layer2"]), features(whole, images, ["layer2"]))


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match=r"options\.level: no level is named 'layer9'; did you mean"):
        build(level="layer9")
    with pytest.raises(UserError, match=r"options\.backbone_options: no option is named 'dept'; did you mean 'depth'"):
        build(backbone_options={"dept": 20})
    with pytest.raises(UserError, match=r"no architecture is named 'resnt'; did you mean 'resnet'"):
        build(backbone="resnt")
    with pytest.raises(UserError, match=r"options\.backbone: linear has no LEVELS"):
        build(backbone="linear")
    with pytest.raises(UserError, match=r"options\.group: 3 must divide the 16 channels of layer4 and width 8"):
        build(group=3)
