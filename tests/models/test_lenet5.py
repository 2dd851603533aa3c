"""LeNet-5 is the published network: counts, connections, subsampling, squashing and output."""

import itertools

import pytest
import torch
from torch import nn

from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.models import lenet5
from pipeline.models.parts.spec import Spec


def build(variant: str = "paper", classes: int = 10, channels: int = 1, size: int = 32) -> nn.Module:
    return lenet5.build(Spec("classification", classes, channels, size), variant=variant)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_parameters_by_layer() -> None:
    network = build()
    counts = {name: parameters(layer) for name, layer in network.named_children() if parameters(layer)}
    assert counts == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert parameters(network) == 60_000


def test_published_connections() -> None:
    """Section II-B counts a connection for each use of a weight or bias, and the 840 of the output."""
    with torch.device("meta"):
        network = build()
    features = {"c1": (6, 28), "s2": (6, 14), "c3": (16, 10), "s4": (16, 5), "c5": (120, 1), "f6": (84, None)}
    shapes: dict[str, torch.Size] = {}
    for name in features:
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: shapes.update({name: out.shape})
        )
    network(torch.empty(1, 1, 32, 32, device="meta"))
    for name, (channels, side) in features.items():
        assert shapes[name] == ((1, channels, side, side) if side else (1, channels))
    # a subsampling unit has four inputs and a bias, though they share one coefficient
    fan_in = {"s2": 6 * 5, "s4": 16 * 5}
    uses = [
        fan_in.get(name, parameters(network.get_submodule(name))) * (side or 1) ** 2
        for name, (_, side) in features.items()
    ]
    assert sum(uses) + 84 * 10 == 340_908


@pytest.mark.parametrize("size", [28, 29, 32, 40])
@pytest.mark.parametrize(("channels", "expected"), [(1, 61_706), (3, 62_006)])
def test_modern_parameters_at_every_size(size: int, channels: int, expected: int) -> None:
    network = build("modern", channels=channels, size=size)
    assert parameters(network) == expected
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 10)


def test_receptive_field_is_the_whole_input() -> None:
    for variant in ("modern", "paper"):
        with torch.device("meta"):
            network = build(variant)
        counted = count(network, 1, 32)
        assert (counted.receptive_field, counted.stride) == (32, 4)


def test_partial_connections_are_those_of_table_one() -> None:
    """Measured: the gradient from each map of C3 reaches exactly the maps of S2 in its row."""
    layer = lenet5.PartialConv2d(lenet5.CONNECTIONS, 5)
    features = torch.rand(1, 6, 5, 5, requires_grad=True)
    output = layer(features)
    links = []
    for row, reads in enumerate(lenet5.CONNECTIONS):
        (gradient,) = torch.autograd.grad(output[0, row, 0, 0], features, retain_graph=True)
        assert tuple(gradient[0].abs().sum((1, 2)).nonzero().flatten().tolist()) == reads
        links += [(source, row) for source in reads]
    assert len(set(links)) == 60
    assert all(sum(source == other for other, _ in links) == 10 for source in range(6))
    assert parameters(layer) == 1_516


def test_subsampling_sums_four_inputs() -> None:
    layer = lenet5.Subsampling(2)
    layer.coefficient.data = torch.tensor([2.0, -1.0]).reshape(2, 1, 1)
    layer.bias.data = torch.tensor([0.5, 0.0]).reshape(2, 1, 1)
    output = layer(torch.arange(8.0).reshape(1, 2, 2, 2))
    assert output.flatten().tolist() == [2 * (0 + 1 + 2 + 3) + 0.5, -(4 + 5 + 6 + 7)]


def test_squashing_keeps_plus_and_minus_one() -> None:
    output = lenet5.ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(output, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), atol=1e-4, rtol=0)


def test_weights_start_within_the_papers_bounds() -> None:
    torch.manual_seed(0)
    network = build()
    for name, fan_in in (("c1.0", 25), ("s2.0", 4), ("c3.0.parts.0", 75), ("c5.0", 400), ("f6.2", 120)):
        largest = max(float(parameter.detach().abs().max()) for parameter in network.get_submodule(name).parameters())
        assert 0.5 * 2.4 / fan_in < largest <= 2.4 / fan_in


@pytest.mark.parametrize("classes", [4, 10, 300])
def test_output_is_minus_the_squared_distance_to_patterns(classes: int) -> None:
    layer = lenet5.Distance(classes)
    assert layer.patterns.shape == (classes, 84)
    assert set(layer.patterns.flatten().tolist()) == {-1.0, 1.0}
    logits = layer(layer.patterns)
    expected = -torch.cdist(layer.patterns, layer.patterns).square()
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=0)
    assert torch.equal(logits.argmax(1), torch.arange(classes))
    assert not list(layer.parameters())


def test_digit_patterns_differ() -> None:
    for first, second in itertools.combinations(lenet5.digit_patterns(), 2):
        assert sum(a != b for a, b in zip(first, second, strict=True)) >= 8


def test_codes_never_change() -> None:
    """A model that was saved expects the same patterns."""
    bits = sum(1 << bit for bit, value in enumerate(lenet5.hashed_pattern(0)) if value > 0)
    assert bits == 0x28E79CF7948CD1CA156CE


def test_small_images_are_padded_with_their_edge() -> None:
    network = build(size=28)
    padded = network.get_submodule("pad")(torch.full((1, 1, 28, 28), -0.1))
    assert padded.shape == (1, 1, 32, 32)
    assert bool((padded == torch.tensor(-0.1)).all())


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match="size: 27 is too small for lenet5; use at least 28"):
        build(size=27)
    with pytest.raises(UserError, match=r"options\.variant: no variant is named 'papr'; did you mean 'paper'"):
        build("papr")
