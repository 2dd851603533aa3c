"""DenseNet: published counts, what a layer reads and in which order it works, and torchvision's outputs."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.models import densenet
from pipeline.models.parts.feature_maps import level_shapes
from pipeline.models.parts.spec import Spec
from tests.helpers import torchvisions


def build(classes: int = 10, channels: int = 3, size: int = 32, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return densenet.build(Spec("classification", classes, channels, size), **options)


@pytest.mark.parametrize(
    ("classes", "options", "parameters"),
    [
        (1000, {"depth": 121}, 7_978_856),
        (1000, {"depth": 169}, 14_149_480),
        (1000, {"depth": 201}, 20_013_928),
        (1000, {"depth": 161}, 28_681_000),
        (10, {"depth": 100}, 769_162),  # table 2: 0.8, 25.6, 1.0 and 7.0 million
        (10, {"depth": 190, "growth": 40}, 25_624_430),
        (10, {"depth": 40, "bottleneck": False, "compression": 1.0}, 1_019_722),
        (10, {"depth": 100, "bottleneck": False, "compression": 1.0}, 6_979_642),
    ],
)
def test_published_parameters(classes: int, options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        network = build(classes, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("options", [{"depth": 121}, {"depth": 40}, {"depth": 40, "bottleneck": False}])
def test_depth_counts_the_layers_with_weights(options: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = build(**options)
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in network.modules()) == options["depth"]


def test_multiply_adds_and_shapes() -> None:
    with torch.device("meta"):
        network, cifar = build(1000, size=224), build(depth=40)
        assert count(network, 3, 224).multiply_adds / 1e9 == pytest.approx(2.834, abs=5e-4)
    shapes = list(level_shapes(network, densenet.LEVELS, 3, 64).values())
    assert shapes == [(256, 4), (512, 8), (1024, 16), (1024, 32)]
    assert [stride for _, stride in level_shapes(cifar, densenet.LEVELS, 3, 32).values()] == [1, 2, 4, 4]


def test_a_layer_normalises_rectifies_and_then_convolves() -> None:
    torch.manual_seed(0)
    layer = torchvisions.randomize_norms(densenet.DenseLayer(10, 3, bottleneck=True, dropout=0.0)).double().eval()
    parts = dict(layer.named_children())
    maps = torch.randn(2, 10, 6, 6, dtype=torch.float64)
    inner = F.conv2d(parts["norm1"](maps).relu(), parts["conv1"].get_parameter("weight"))
    assert inner.shape[1] == 4 * 3
    new = F.conv2d(parts["norm2"](inner).relu(), parts["conv2"].get_parameter("weight"), padding=1)
    torch.testing.assert_close(layer(maps), torch.cat([maps, new], 1))
    after = parts["norm2"](F.conv2d(maps, parts["conv1"].get_parameter("weight"))).relu()
    assert not torch.allclose(F.conv2d(after, parts["conv2"].get_parameter("weight"), padding=1), new)


def test_every_layer_reads_all_before_it() -> None:
    block = build(depth=40, growth=4).get_submodule("features.denseblock1")
    read = [layer.get_submodule("norm1").get_parameter("weight").numel() for layer in block.children()]
    assert read == [8 + 4 * index for index in range(6)]
    maps = torch.randn(2, 8, 8, 8)
    torch.testing.assert_close(block.eval()(maps)[:, :8], maps)


def test_a_transition_keeps_half_the_maps() -> None:
    network = build(depth=40, growth=4)
    transition = network.get_submodule("features.transition1")
    assert transition.get_submodule("conv").get_parameter("weight").shape == ((8 + 24) // 2, 8 + 24, 1, 1)
    assert [type(layer) for layer in transition.children()] == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.AvgPool2d]


def test_initial_weights_are_he_normal() -> None:
    layer = build(depth=40).get_submodule("features.denseblock1.denselayer6.conv2")
    assert float(layer.get_parameter("weight").detach().std()) == pytest.approx((2 / (48 * 9)) ** 0.5, rel=0.05)


def test_torchvisions_weights_load_and_outputs_agree() -> None:
    from torchvision import models

    torch.manual_seed(1)
    with torch.device("meta"):
        ours = build(1000)
    expected, outputs = torchvisions.outputs(models.densenet121(), ours, size=64)
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [169, 201, 161])
def test_torchvisions_deeper_networks_agree(depth: int) -> None:
    from torchvision import models

    torch.manual_seed(1)
    theirs = getattr(models, f"densenet{depth}")()
    with torch.device("meta"):
        ours = build(1000, depth=depth)
    expected, outputs = torchvisions.outputs(theirs, ours, size=64)
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=1e-12)


def test_any_size_and_channels() -> None:
    network = build(7, channels=1, size=17, depth=22, growth=4).eval()
    assert network(torch.zeros(2, 1, 17, 17)).shape == (2, 7)


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match=r"options\.depth: 41 is neither 121, 169, 201, 161 nor 4 more than a multiple"):
        build(depth=41)
    with pytest.raises(
        UserError, match=r"options\.compression: 0 is no fraction of the channels; use more than 0, at most 1"
    ):
        build(depth=40, compression=0)
    with pytest.raises(UserError, match=r"options\.stem: no stem is named 'cifr'; did you mean 'cifar'"):
        build(stem="cifr")
