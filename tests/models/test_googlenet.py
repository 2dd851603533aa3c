"""GoogLeNet's modules, its auxiliary classifiers in training and in evaluation, and torchvision's network."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.learners.base import Settings
from pipeline.models import googlenet
from pipeline.models.parts import layers
from pipeline.models.parts.feature_maps import level_shapes
from pipeline.models.parts.spec import Spec
from pipeline.tasks import classification
from tests.helpers import torchvisions


def build(classes: int = 10, channels: int = 3, size: int = 32, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return googlenet.build(Spec("classification", classes, channels, size), **options)


def small(**options: Any) -> nn.Module:
    return build(**{"stem": "cifar", "width": 8, **options})


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 13_378_280),
        ({"auxiliary": False}, 6_998_552),
        ({"variant": "torchvision"}, 13_004_888),
        ({"variant": "torchvision", "auxiliary": False}, 6_624_904),
    ],
)
def test_published_parameters(options: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        network = build(1000, size=224, **options)
    assert parameters(network) == expected


def test_published_parameters_of_the_auxiliary_classifiers() -> None:
    with torch.device("meta"):
        network = build(1000, size=224)
    assert [parameters(network.get_submodule(name)) for name in ("aux1", "aux2")] == [3_188_840, 3_190_888]


def test_multiply_adds_of_torchvisions_network() -> None:
    with torch.device("meta"):
        network = build(1000, size=224, variant="torchvision")
        assert count(network, 3, 224).multiply_adds / 1e9 == pytest.approx(1.498, abs=5e-4)


def test_shapes_of_the_levels() -> None:
    with torch.device("meta"):
        network = build(1000, size=224)
    assert list(level_shapes(network, googlenet.LEVELS, 3, 224).values()) == [(192, 4), (480, 8), (832, 16), (1024, 32)]
    assert [stride for _, stride in level_shapes(small(), googlenet.LEVELS, 3, 32).values()] == [1, 2, 4, 8]


@pytest.mark.parametrize(("variant", "kernel"), [("paper", 5), ("torchvision", 3)])
def test_a_module_is_four_parallel_branches(variant: str, kernel: int) -> None:
    module = small(variant=variant).eval().get_submodule("inception3a")
    branches = dict(module.named_children())
    features = torch.randn(2, 24, 8, 8)
    expected = torch.cat([branches[f"branch{number}"](features) for number in (1, 2, 3, 4)], 1)
    torch.testing.assert_close(module(features), expected)
    assert module(features).shape == (2, 8 + 16 + 4 + 4, 8, 8)
    kernels = [layer.kernel_size[0] for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [1, 1, 3, 1, kernel, 1]


def test_where_the_paper_normalises() -> None:
    names = [name for name, _ in build(size=224, width=8).named_children()]
    assert names[:8] == ["conv1", "maxpool1", "norm1", "conv2", "conv3", "norm3", "maxpool2", "inception3a"]
    theirs = small(variant="torchvision")
    assert not any(isinstance(layer, nn.LocalResponseNorm) for layer in theirs.modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in small().modules())


@pytest.mark.parametrize("variant", googlenet.VARIANTS)
def test_auxiliary_classifiers_have_outputs_in_training_only(variant: str) -> None:
    network, images = small(variant=variant), torch.rand(2, 3, 32, 32)
    outputs = network.train()(images)
    assert [output.shape for output in outputs] == [(2, 10)] * 3
    assert network.eval()(images).shape == (2, 10)
    assert small(auxiliary=False).train()(images).shape == (2, 10)


def test_their_losses_count_three_tenths() -> None:
    """Section 5, by hand on the network's own logits."""
    settings = Settings(tuple("abcdefghij"), (), (1,) * 10, 3, 32, (0.5,) * 3, (0.3,) * 3)
    network = small(dropout=0, auxiliary_dropout=0)
    learner = classification.learner(network, settings).train()
    images, labels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), torch.tensor([1, 2, 3, 4])
    main, first, second = (F.cross_entropy(logits, labels) for logits in network(learner.normalize(images)))
    losses = learner(images, labels)
    torch.testing.assert_close(losses["cross_entropy"], main)
    torch.testing.assert_close(losses["auxiliary"], 0.3 * (first + second))
    assert set(learner.eval()(images, labels)) == {"cross_entropy"}
    half = classification.learner(network, settings, auxiliary=0.5).train()
    torch.testing.assert_close(half(images, labels)["auxiliary"], 0.5 * (first + second))


def test_an_auxiliary_classifier_reaches_the_early_layers_and_no_later_one() -> None:
    network = small().train()
    _, first, _ = network(torch.rand(2, 3, 32, 32))
    first.sum().backward()
    assert network.get_parameter("conv1.conv.weight").grad is not None
    assert network.get_parameter("inception4a.branch1.conv.weight").grad is not None
    assert network.get_parameter("inception4b.branch1.conv.weight").grad is None


def test_a_backbone_keeps_no_auxiliary_classifier() -> None:
    options = {"stem": "cifar", "width": 8}
    body = layers.backbone("googlenet", Spec("localization", 4, 3, 32), options, ["inception4e"])
    assert not [name for name, _ in body.named_parameters() if name.startswith(("aux", "inception5", "fc"))]


@pytest.mark.parametrize("size", [64, 96])
def test_torchvisions_weights_load_and_outputs_agree(size: int) -> None:
    from torchvision import models

    torch.manual_seed(1)
    theirs = models.googlenet(aux_logits=True, init_weights=False)
    with torch.device("meta"):
        ours = build(1000, size=224, variant="torchvision")
    expected, outputs = torchvisions.outputs(theirs, ours, size)
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=1e-12)
    for layer in (*theirs.modules(), *ours.modules()):
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    images = torch.randn(4, 3, size, size, dtype=torch.float64)
    logits, second, first = theirs.train()(images)
    for one, two in zip(ours.train()(images), (logits, first, second), strict=True):
        torch.testing.assert_close(one, two, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("size", "options"),
    [(8, {"stem": "cifar"}), (20, {"stem": "cifar"}), (31, {}), (64, {"variant": "torchvision"})],
)
def test_any_size_and_channels(size: int, options: dict[str, Any]) -> None:
    network = build(7, channels=1, size=size, width=8, **options)
    assert [output.shape for output in network.train()(torch.zeros(2, 1, size, size))] == [(2, 7)] * 3
    assert network.eval()(torch.zeros(2, 1, size, size)).shape == (2, 7)


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match=r"options\.variant: no variant is named 'papr'; did you mean 'paper'"):
        build(variant="papr")
    with pytest.raises(UserError, match="size: 30 is too small for googlenet with stem imagenet; use at least 31"):
        build(size=30)
