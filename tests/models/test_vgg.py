"""VGG's configurations are those of the paper's table 1, and torchvision's networks."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.models import vgg
from pipeline.models.parts.feature_maps import level_shapes
from pipeline.models.parts.spec import Spec
from tests.helpers import torchvisions

PLAIN = {"A": 132_863_336, "B": 133_047_848, "C": 133_638_952, "D": 138_357_544, "E": 143_667_240}
NORMALIZED = {"A": 132_868_840, "B": 133_053_736, "D": 138_365_992, "E": 143_678_248}
LAYERS = {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}


def build(classes: int = 10, channels: int = 3, size: int = 32, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return vgg.build(Spec("classification", classes, channels, size), **options)


def small(**options: Any) -> nn.Module:
    return build(**{"width": 4, "head_width": 16, **options})


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("config", PLAIN)
def test_published_parameters(config: str) -> None:
    """Table 2 rounds them to 133, 133, 134, 138 and 144 million."""
    with torch.device("meta"):
        assert parameters(build(1000, size=224, config=config)) == PLAIN[config]
        if config in NORMALIZED:
            assert parameters(build(1000, size=224, config=config, norm="batch")) == NORMALIZED[config]


@pytest.mark.parametrize(("config", "layers"), LAYERS.items())
def test_the_layers_with_weights(config: str, layers: int) -> None:
    network = small(config=config)
    weighted = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(weighted) == layers
    assert sum(isinstance(layer, nn.LocalResponseNorm) for layer in network.modules()) == (config == "A-LRN")


def test_in_c_the_last_of_the_coarser_groups_is_a_1x1() -> None:
    kernels = [layer.kernel_size[0] for layer in small(config="C").modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]


def test_the_convolutions_of_d_at_the_published_input() -> None:
    with torch.device("meta"):
        network = build(1000, size=224)
        counted = count(network, 3, 224)
    assert counted.multiply_adds / 1e9 == pytest.approx(15.47, abs=5e-3)
    assert parameters(network.get_submodule("features")) == 14_714_688
    shapes = list(level_shapes(network, vgg.LEVELS, 3, 224).values())
    assert shapes == [(64, 2), (128, 4), (256, 8), (512, 16), (512, 16), (512, 32)]


def test_a_stage_is_the_output_of_its_group() -> None:
    for options in ({"config": "A"}, {"config": "E", "norm": "batch"}):
        names = [name for name, _ in small(**options).get_submodule("features").named_children()]
        for before, after in pairwise(["conv5", "pool5"]):
            assert names.index(after) == names.index(before) + 1 == len(names) - 1


def test_initial_weights() -> None:
    for init, formula in (
        ("he", lambda fan_in, _: (2 / fan_in) ** 0.5),
        ("glorot", lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
    ):
        layer = small(width=16, init=init).get_submodule("features.10")
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        assert not layer.bias.any()
        deviation = formula(layer.in_channels * 9, layer.out_channels * 9)
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.05)


def test_torchvisions_weights_load_and_outputs_agree() -> None:
    """The convolutions, in which the configurations differ; the whole of D is a slow test."""
    from torchvision.models import vgg as theirs

    for config, norm in (("A", False), ("B", True), ("D", False), ("E", True)):
        torch.manual_seed(1)
        options: dict[str, Any] = {"config": config, "norm": "batch" if norm else "none", "head_width": 1}
        layers = theirs.make_layers(theirs.cfgs[config], batch_norm=norm)
        with torch.device("meta"):
            mine = build(1000, size=32, **options).get_submodule("features")
        expected, outputs = torchvisions.outputs(layers, mine, size=32)
        torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_torchvisions_whole_network_agrees(norm: str) -> None:
    from torchvision import models

    torch.manual_seed(1)
    theirs = models.vgg16_bn() if norm == "batch" else models.vgg16()
    with torch.device("meta"):
        ours = build(1000, size=224, norm=norm)
    expected, outputs = torchvisions.outputs(theirs, ours, size=64)
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("size", "side"), [(32, 1), (64, 2), (70, 2)])
def test_any_size_and_channels(size: int, side: int) -> None:
    network = small(channels=1, size=size).eval()
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 10)
    assert network.get_parameter("classifier.0.weight").shape[1] == 32 * side**2


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match=r"options\.config: no config is named 'F'\. There are: A, A-LRN, B, C, D, E"):
        build(config="F")
    with pytest.raises(UserError, match="size: 28 is too small for vgg; use at least 32"):
        build(size=28)
