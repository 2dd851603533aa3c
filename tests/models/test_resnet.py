"""ResNets are the published networks: counts, strides, shortcuts, initial weights, and torchvision's own outputs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.count.layers import Count, count
from pipeline.errors import UserError
from pipeline.models import resnet
from pipeline.models.parts.feature_maps import level_shapes
from pipeline.models.parts.spec import Spec

IMAGENET = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
CIFAR = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}


def build(classes: int = 10, channels: int = 3, size: int = 32, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return resnet.build(Spec("classification", classes, channels, size), **options)


def counted(classes: int, size: int, **options: Any) -> Count:
    with torch.device("meta"):
        return count(build(classes, size=size, **options), 3, size)


@pytest.mark.parametrize(("depth", "parameters"), [*IMAGENET.items(), *CIFAR.items()])
def test_published_parameters(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        network = build(1000 if depth in IMAGENET else 10, depth=depth)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("depth", [18, 50, 20, 110])
def test_depth_counts_the_layers_with_weights(depth: int) -> None:
    with torch.device("meta"):
        network = build(depth=depth, plain=True)
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in network.modules()) == depth


@pytest.mark.parametrize(
    ("depth", "variant", "billions"),
    [(18, "paper", 1.814), (50, "torchvision", 4.089), (50, "paper", 3.858), (152, "torchvision", 11.514)],
)
def test_published_multiply_adds(depth: int, variant: str, billions: float) -> None:
    """Torchvision's figures; the paper's table 1 says 1.8, 3.8 and 11.3 without the projections."""
    assert counted(1000, 224, depth=depth, variant=variant).multiply_adds / 1e9 == pytest.approx(billions, abs=5e-4)


def test_levels_halve_the_side_and_double_the_channels() -> None:
    with torch.device("meta"):
        networks = [build(size=224, depth=50), build(size=32, depth=20), build(depth=18, stem="cifar", width=8)]
    shapes = [list(level_shapes(network, resnet.LEVELS, 3, 64).values()) for network in networks]
    assert shapes[0] == [(256, 4), (512, 8), (1024, 16), (2048, 32)]
    assert shapes[1] == [(16, 1), (32, 2), (64, 4), (64, 4)]  # three levels; the fourth equals the third
    assert shapes[2] == [(8, 1), (16, 2), (32, 4), (64, 8)]


@pytest.mark.parametrize(("variant", "strides"), [("paper", [(2, 2), (1, 1)]), ("torchvision", [(1, 1), (2, 2)])])
def test_where_a_bottleneck_has_its_stride(variant: str, strides: list[tuple[int, int]]) -> None:
    with torch.device("meta"):
        network = build(depth=50, variant=variant)
    first = network.get_submodule("layer2.0")
    assert [layer.stride for name, layer in first.named_children() if name in ("conv1", "conv2")] == strides


def test_option_a_takes_every_second_pixel_and_adds_zeros() -> None:
    shortcut = resnet.padded_shortcut(2, 5, 2)
    assert not list(shortcut.parameters())
    features = torch.arange(2 * 5 * 4.0).reshape(1, 2, 5, 4)
    output = shortcut(features)
    assert output.shape == (1, 5, 3, 2)
    np.testing.assert_array_equal(output[0, :2], features[0, :, [0, 2, 4]][:, :, [0, 2]])
    assert not output[0, 2:].any()
    assert isinstance(resnet.padded_shortcut(4, 4, 1), nn.Identity)
    with torch.device("meta"):
        cifar = build(depth=56)
    assert {type(layer) for name, layer in cifar.named_modules() if name.endswith("downsample")} == {
        nn.Identity,
        resnet.Padded,
    }


@pytest.mark.parametrize("block", [resnet.Basic, resnet.Bottleneck])
@pytest.mark.parametrize(
    ("shortcut", "stride"), [(resnet.projection_shortcut, 2), (resnet.projection_shortcut, 1), (resnet.no_shortcut, 1)]
)
def test_a_block_is_its_residual_plus_its_shortcut(block: Any, shortcut: Any, stride: int) -> None:
    torch.manual_seed(0)
    outputs = 4 * block.EXPANSION
    made = block(outputs, 4, stride, shortcut, early=False).eval()
    features = torch.randn(2, outputs, 6, 6)
    layers = dict(made.named_children())
    residual = features
    for number in (1, 2, 3)[: 3 if block is resnet.Bottleneck else 2]:
        residual = layers[f"bn{number}"](layers[f"conv{number}"](residual.relu() if number > 1 else residual))
    past = layers["downsample"](features) if "downsample" in layers else 0
    torch.testing.assert_close(made(features), (residual + past).relu())
    assert made(features).shape == (2, outputs, 6 // stride, 6 // stride)


def test_a_plain_net_has_no_shortcut_and_no_projection() -> None:
    plain = sum(parameter.numel() for parameter in build(1000, depth=18, plain=True).parameters())
    projections = sum(inputs * 2 * inputs + 2 * 2 * inputs for inputs in (64, 128, 256))
    assert plain == IMAGENET[18] - projections


def test_initial_convolutions_are_he_normal() -> None:
    network = build(depth=20)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is None
            deviation = (2 / (layer.out_channels * 9)) ** 0.5
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.15)


def test_zero_gamma_starts_every_block_as_its_shortcut() -> None:
    network = build(depth=20, zero_gamma=True).eval()
    features = torch.rand(1, 16, 8, 8)
    torch.testing.assert_close(network.get_submodule("layer1")(features), features)
    assert sum(not layer.weight.any() for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)) == 9


@pytest.mark.parametrize("size", [8, 17, 64])
@pytest.mark.parametrize("options", [{"depth": 20, "width": 4}, {"depth": 50, "width": 4, "variant": "paper"}])
def test_any_size_and_channels(size: int, options: dict[str, Any]) -> None:
    network = build(7, channels=1, size=size, **options).eval()
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 7)


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match=r"options\.depth: 19 is not one of the published depths; use 18, 20, 32,"):
        build(depth=19)
    with pytest.raises(UserError, match=r"options\.variant: no variant is named 'papr'; did you mean 'paper'"):
        build(variant="papr")
    with pytest.raises(UserError, match=r"options\.stem: no stem is named 'cifr'; did you mean 'cifar'"):
        build(stem="cifr")
    with pytest.raises(UserError, match=r"options\.zero_gamma: with plain every block would output zeros"):
        build(plain=True, zero_gamma=True)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 50])
def test_torchvisions_weights_load_and_outputs_agree(depth: int) -> None:
    from torchvision import models

    torch.manual_seed(1)
    theirs = getattr(models, f"resnet{depth}")(weights=None)
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):  # statistics that are not those of a fresh network
            nn.init.uniform_(layer.get_buffer("running_mean"), -0.1, 0.1)
            nn.init.uniform_(layer.get_buffer("running_var"), 0.5, 1.5)
    ours = build(1000, size=224, depth=depth)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected, logits = theirs.eval()(images), ours.eval()(images)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    if depth == 50:
        paper = build(1000, size=224, depth=depth, variant="paper").eval()
        paper.load_state_dict(theirs.state_dict())
        with torch.no_grad():
            assert not torch.allclose(paper(images), expected, atol=1e-2)
