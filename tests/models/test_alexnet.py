"""AlexNet is the published network: counts, towers, normalisation, initial values; and torchvision's outputs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.models import alexnet
from pipeline.models.parts.feature_maps import level_shapes
from pipeline.models.parts.layers import local_response_norm
from pipeline.models.parts.spec import Spec
from tests.helpers import torchvisions


def build(classes: int = 10, channels: int = 3, size: int = 32, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return alexnet.build(Spec("classification", classes, channels, size), **options)


def small(**options: Any) -> nn.Module:
    return build(**{"stem": "cifar", "width": 24, "head_width": 64, **options})


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({}, 60_965_224), ({"groups": 1}, 62_378_344), ({"variant": "torchvision"}, 61_100_840)],
)
def test_published_parameters(options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        network = build(1000, size=224, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_published_multiply_adds_and_maps() -> None:
    with torch.device("meta"):
        network = build(1000, size=224, variant="torchvision")
        assert count(network, 3, 224).multiply_adds / 1e9 == pytest.approx(0.714, abs=5e-4)
        network = build(1000, size=224)
    assert list(level_shapes(network, alexnet.LEVELS, 3, 224).values()) == [(96, 8), (256, 16), (256, 16), (256, 32)]
    assert list(level_shapes(small(), alexnet.LEVELS, 3, 32).values()) == [(24, 2), (64, 4), (64, 4), (64, 8)]


def test_five_convolutions_and_three_dense_layers_in_two_towers() -> None:
    with torch.device("meta"):
        layers = [layer for layer in build(1000, size=224).modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [96, 256, 384, 384, 256]
    assert [layer.groups for layer in convolutions] == [1, 2, 1, 2, 2]
    assert [layer.kernel_size[0] for layer in convolutions] == [11, 5, 3, 3, 3]
    dense = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in dense] == [256 * 6 * 6, 4096, 4096]


def test_a_tower_does_not_see_the_other_until_the_third_convolution() -> None:
    network = small().double().eval()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    first = network.get_submodule("features.0")(images).detach().requires_grad_()
    second = network.get_submodule("features.3")
    (gradient,) = torch.autograd.grad(second(first)[:, :32].sum(), first)
    assert bool(gradient[:, :12].any())
    assert not gradient[:, 12:].any()
    pooled = torch.randn(1, 64, 7, 7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.get_submodule("features.6")(pooled)[:, :48].sum(), pooled)
    assert bool(gradient[:, :32].any())
    assert bool(gradient[:, 32:].any())


def test_response_normalisation_as_printed() -> None:
    """Section 3.3: b = a / (k + α Σ a²)^β over n = 5 neighbouring maps, k = 2, α = 1e-4, β = 0.75."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 60, (2, 9, 3, 4))  # values so large that the sum matters
    expected = np.empty_like(features)
    for channel in range(9):
        near = features[:, max(0, channel - 2) : min(8, channel + 2) + 1]
        expected[:, channel] = features[:, channel] / (2 + 1e-4 * (near**2).sum(1)) ** 0.75
    normalized = local_response_norm()(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(normalized, expected, rtol=1e-12)
    mean = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)(torch.from_numpy(features)).numpy()
    assert np.abs(mean - expected).max() > 1  # torch takes the mean of the squares


def test_normalisation_follows_the_rectifier_and_precedes_the_pooling() -> None:
    names = [name for name, _ in small().get_submodule("features").named_children()]
    assert names[:8] == ["0", "conv1", "norm1", "pool1", "3", "conv2", "norm2", "pool2"]
    assert not any(isinstance(layer, nn.LocalResponseNorm) for layer in small(variant="torchvision").modules())
    pools = [layer for layer in small().modules() if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2)] * 3  # windows overlap


@pytest.mark.parametrize(("width", "deviation"), [(96, 0.01), (24, 0.02)])
def test_initial_weights_and_biases(width: int, deviation: float) -> None:
    network = small(width=width)
    ones = {"features.3", "features.8", "features.10", "classifier.1", "classifier.4"}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.1)
            assert layer.bias is not None
            assert bool((layer.bias == (1.0 if name in ones else 0.0)).all()), name


def test_dropout_is_behind_the_hidden_layers_in_training_only() -> None:
    order = [type(layer) for layer in small().get_submodule("classifier").children()]
    assert order == [nn.Linear, nn.ReLU, nn.Dropout] * 2 + [nn.Linear]
    network, images = small(), torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network.eval()(images), network.eval()(images))
    assert not torch.equal(network.train()(images), network(images))


def test_torchvisions_weights_load_and_outputs_agree() -> None:
    from torchvision import models

    torch.manual_seed(1)
    with torch.device("meta"):
        ours = build(1000, size=224, variant="torchvision")
    expected, outputs = torchvisions.outputs(models.alexnet(), ours, size=64)
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("size", "side"), [(15, 1), (32, 3), (48, 5), (128, 6)])
def test_hidden_layers_see_what_a_small_image_gives(size: int, side: int) -> None:
    network = small(size=size, channels=1).eval()
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 10)
    assert network.get_parameter("classifier.1.weight").shape[1] == 64 * side**2


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match=r"options\.variant: no variant is named 'papr'; did you mean 'paper'"):
        build(variant="papr")
    with pytest.raises(UserError, match="size: 32 is too small for alexnet with stem imagenet; use at least 63"):
        build(size=32)
    with pytest.raises(UserError, match="size: 14 is too small for alexnet with stem cifar; use at least 15"):
        small(size=14)
