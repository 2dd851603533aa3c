"""The first GAN is the pair of players that its authors released, and learns in pixels 0..1."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.learners.base import Settings
from pipeline.models import gan
from pipeline.models.parts.spec import Spec

SMALL: dict[str, Any] = {"width": 20, "units": 6, "pieces": 3, "latent": 5}


def build(classes: int = 3, **options: Any) -> gan.GAN:
    torch.manual_seed(0)
    network = gan.build(Spec("generation", classes, 1, 8), **(SMALL | options))
    assert isinstance(network, gan.GAN)
    return network.eval()


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_parameters_of_each_player() -> None:
    with torch.device("meta"):
        network = gan.build(Spec("generation", 10, 1, 28))
    generator = 100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784
    discriminator = 5 * 240 * (784 + 1) + 5 * 240 * (240 + 1) + 241
    assert parameters(network.get_submodule("generator")) == generator == 2_503_984
    assert parameters(network.get_submodule("discriminator")) == discriminator == 1_231_441


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer = gan.Maxout(2, 2, 3)
    weights = torch.tensor([[1.0, 0], [0, 1], [-1, -1], [2, 0], [0, 2], [0, 0]])
    layer.linear.weight.data, layer.linear.bias.data = weights, torch.tensor([0.0, 0, 0, 0, 0, 0.5])
    values = torch.tensor([[3.0, 4], [-1, -2], [0.1, 0.1]])
    expected = torch.tensor([[4.0, 8], [3, 0.5], [0.1, 0.5]])
    torch.testing.assert_close(layer(values), expected)


def test_the_players_written_out() -> None:
    network = build()
    (first, second, last) = (layer for layer in network.generator.modules() if isinstance(layer, nn.Linear))
    noise = network.sample_noise(4, "cpu")
    by_hand = torch.sigmoid(last(second(first(noise.flatten(1)).relu()).relu())) * 2 - 1
    drawn = network.generate(noise, torch.zeros(4, 3))
    torch.testing.assert_close(drawn, by_hand.view(4, 1, 8, 8))
    (one, two, judge) = (layer for layer in network.discriminator.modules() if isinstance(layer, nn.Linear))

    def largest(layer: nn.Linear, values: Tensor) -> Tensor:
        return layer(values).view(len(values), 6, 3).max(dim=2).values

    realness = judge(largest(two, largest(one, ((drawn + 1) / 2).flatten(1)))).flatten()
    torch.testing.assert_close(network.discriminate(drawn, torch.zeros(4, 3)), realness)


def test_weights_start_as_released() -> None:
    network = build(width=400)
    for player, bound in (("generator", 0.05), ("discriminator", 0.005)):
        for layer in network.get_submodule(player).modules():
            if isinstance(layer, nn.Linear):
                assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound or layer.weight.numel() < 20
                assert not layer.bias.any()


def test_dropout_is_in_the_discriminator_alone_and_can_be_left_out() -> None:
    network = build(width=400).train()
    noise, labels, images = network.sample_noise(3, "cpu"), torch.zeros(3, 3), torch.rand(3, 1, 8, 8)
    assert torch.equal(network.generate(noise, labels), network.generate(noise, labels))
    assert not torch.equal(network.discriminate(images, labels), network.discriminate(images, labels))
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    sure = build(dropout=False).train()
    assert torch.equal(sure.discriminate(images, labels), sure.discriminate(images, labels))


def test_both_players_are_told_the_class() -> None:
    network, labels = build(conditional=True), torch.eye(3)
    noise = network.sample_noise(1, "cpu").expand(3, -1, -1, -1)
    drawn = network.generate(noise, labels)
    realness = network.discriminate(drawn[:1].expand(3, -1, -1, -1), labels)
    assert len(drawn[:, 0, 0, 0].unique()) == len(realness.unique()) == 3


@pytest.mark.parametrize("objective", ["non_saturating", "minimax", "hinge", "wgan_gp"])
def test_it_plays_by_every_objective(objective: str) -> None:
    settings = Settings(("a", "b", "c"), (), (1, 1, 1), 1, 8, (0.5,), (0.5,))
    game = gan.learner(build(conditional=True), settings, objective=objective).train()
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    for phase in game.phases:
        losses = game(images, torch.eye(3)[[0, 1, 2, 0, 1, 2]], phase.name)
        torch.stack(list(losses.values())).sum().backward()
        assert all(value.grad is not None and value.grad.isfinite().all() for value in phase.parameters)
