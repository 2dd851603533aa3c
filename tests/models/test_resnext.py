"""ResNeXt: published counts, paths that do not see each other, and torchvision's outputs."""

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.models import resnext
from pipeline.models.parts.feature_maps import level_shapes
from pipeline.models.parts.spec import Spec
from pipeline.models.resnet import Bottleneck, no_shortcut
from tests.helpers import torchvisions


def build(classes: int = 10, channels: int = 3, size: int = 32, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return resnext.build(Spec("classification", classes, channels, size), **options)


@pytest.mark.parametrize(
    ("classes", "options", "parameters"),
    [
        (1000, {}, 25_028_904),
        (1000, {"depth": 101, "group_width": 8}, 88_791_336),
        (1000, {"depth": 101, "cardinality": 64}, 83_455_272),
        (10, {"depth": 29, "cardinality": 8, "group_width": 64}, 34_426_698),  # table 7: 34.4 million
        (10, {"depth": 29, "cardinality": 16, "group_width": 64}, 68_155_210),  # 68.1 million
        (1000, {"cardinality": 1, "group_width": 64}, 25_557_032),  # one path as wide as ResNet-50's
    ],
)
def test_published_parameters(classes: int, options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        network = build(classes, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_multiply_adds_and_shapes() -> None:
    with torch.device("meta"):
        network = build(1000, size=224)
        assert count(network, 3, 224).multiply_adds / 1e9 == pytest.approx(4.230, abs=5e-4)
        cifar = build(depth=29, width=8, cardinality=4, group_width=2)
    shapes = list(level_shapes(network, resnext.LEVELS, 3, 64).values())
    assert shapes == [(256, 4), (512, 8), (1024, 16), (2048, 32)]
    assert list(level_shapes(cifar, resnext.LEVELS, 3, 64).values()) == [(32, 1), (64, 2), (128, 4), (128, 4)]


def test_cardinality_and_width_of_every_block() -> None:
    with torch.device("meta"):
        network = build(1000, cardinality=32, group_width=4)
    for index, level in enumerate(resnext.LEVELS):
        for block in network.get_submodule(level).children():
            grouped = block.get_submodule("conv2")
            assert isinstance(grouped, nn.Conv2d)
            assert grouped.groups == 32
            assert grouped.in_channels // grouped.groups == 4 * 2**index


def test_a_block_adds_up_paths() -> None:
    """Figure 3a: every path has its own reduction, 3×3 and expansion, and the paths are summed."""
    torch.manual_seed(0)
    block = torchvisions.randomize_norms(Bottleneck(16, 4, 1, no_shortcut, inner=6, groups=3)).double().eval()
    layers = dict(block.named_children())
    features = torch.randn(2, 16, 5, 5, dtype=torch.float64)
    reduced = layers["bn1"](layers["conv1"](features)).relu()
    total = torch.zeros(2, 16, 5, 5, dtype=torch.float64)
    for path in range(3):
        own = slice(2 * path, 2 * path + 2)
        masked = torch.zeros_like(reduced)
        masked[:, own] = reduced[:, own]
        grouped = layers["bn2"](layers["conv2"](masked)).relu()
        total += nn.functional.conv2d(grouped[:, own], layers["conv3"].get_parameter("weight")[:, own])
    torch.testing.assert_close(block(features), layers["bn3"](total).relu())


def test_the_grouped_convolution_has_the_stride() -> None:
    with torch.device("meta"):
        block = build().get_submodule("layer2.0")
    assert [block.get_submodule(name).stride for name in ("conv1", "conv2", "conv3")] == [(1, 1), (2, 2), (1, 1)]


def test_torchvisions_weights_load_and_outputs_agree() -> None:
    from torchvision import models

    torch.manual_seed(1)
    with torch.device("meta"):
        ours = build(1000)
    expected, logits = torchvisions.outputs(models.resnext50_32x4d(), ours, size=64)
    torch.testing.assert_close(logits, expected, atol=1e-12, rtol=1e-12)


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match=r"options\.depth: 34 is not one of the published depths; use 29, 50, 101, 152"):
        build(depth=34)
    with pytest.raises(UserError, match=r"options\.stem: no stem is named 'cifr'; did you mean 'cifar'"):
        build(stem="cifr")
