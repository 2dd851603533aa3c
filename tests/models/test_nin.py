"""Network in Network: the published counts, perceptrons of 1×1 convolutions, and averages for an output."""

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.models import nin
from pipeline.models.parts.feature_maps import features, level_shapes
from pipeline.models.parts.spec import Spec


def build(classes: int = 10, channels: int = 3, size: int = 32, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return nin.build(Spec("classification", classes, channels, size), **options)


@pytest.mark.parametrize(
    ("classes", "size", "variant", "parameters"),
    [(10, 32, "cifar", 966_986), (100, 32, "cifar", 984_356), (1000, 224, "imagenet", 7_595_176)],
)
def test_published_parameters(classes: int, size: int, variant: str, parameters: int) -> None:
    with torch.device("meta"):
        network = build(classes, size=size, variant=variant)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert not any(isinstance(layer, nn.Linear) for layer in network.modules())


def test_shapes_of_the_levels() -> None:
    with torch.device("meta"):
        cifar, imagenet = build(), build(1000, size=224, variant="imagenet")
    assert list(level_shapes(cifar, nin.LEVELS, 3, 32).values()) == [(96, 1), (192, 2), (192, 4), (192, 4)]
    assert list(level_shapes(imagenet, nin.LEVELS, 3, 224).values()) == [(96, 4), (256, 8), (384, 16), (1024, 32)]


def test_a_mlpconv_is_a_perceptron_at_every_position() -> None:
    """By hand: each 5×5 patch goes through three layers with rectifiers."""
    network = build(width=12).double().eval()
    images = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    outputs = features(network, images, ["mlpconv1"])["mlpconv1"]
    weights = [layer for layer in network.get_submodule("mlpconv1").children() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in weights] == [12, 10, 6]
    for row, column in ((2, 2), (4, 6)):
        values = images[0, :, row - 2 : row + 3, column - 2 : column + 3].flatten()
        for layer in weights:
            assert layer.bias is not None
            values = (layer.weight.flatten(1) @ values + layer.bias).relu()
        torch.testing.assert_close(outputs[0, :, row, column], values)


def test_the_logits_are_means_of_rectified_feature_maps() -> None:
    network = build(width=12).eval()
    images = torch.randn(2, 3, 32, 32)
    feature_maps = features(network, images, ["output"])["output"].relu()
    assert feature_maps.shape == (2, 10, 8, 8)
    torch.testing.assert_close(network(images), feature_maps.mean((2, 3)))


def test_dropout_is_between_mlpconvs() -> None:
    names = [name for name, layer in build(width=12).named_children() if isinstance(layer, nn.Dropout)]
    assert names == ["drop1", "drop2"]


def test_initial_weights_are_he_normal() -> None:
    layer = build().get_submodule("mlpconv2.0")
    assert float(layer.get_parameter("weight").detach().std()) == pytest.approx((2 / (96 * 25)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("size", "options"), [(4, {}), (28, {}), (39, {"variant": "imagenet", "width": 8})])
def test_any_size_and_channels(size: int, options: dict[str, Any]) -> None:
    network = build(7, channels=1, size=size, **{"width": 12, **options}).eval()
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 7)


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match=r"options\.variant: no variant is named 'cifr'; did you mean 'cifar'"):
        build(variant="cifr")
    with pytest.raises(UserError, match="size: 38 is too small for nin imagenet; use at least 39"):
        build(size=38, variant="imagenet")
