"""DCGAN is the published pair of players, and the game is played right: who learns from what, and with which loss."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline import store
from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.learners import adversarial
from pipeline.learners.adversarial import Adversarial, GeneratorAndDiscriminator
from pipeline.learners.base import Settings
from pipeline.models import dcgan
from pipeline.models.parts.spec import Spec
from pipeline.params import Params
from pipeline.tasks import generation
from pipeline.train import follow, history, loop
from pipeline.train.job_state import JobState
from pipeline.train.ranks import Ranks
from tests.helpers import support

SMALL = {"width": 4, "latent": 8}


def build(size: int = 16, channels: int = 1, **options: Any) -> GeneratorAndDiscriminator:
    torch.manual_seed(0)
    network = dcgan.build(Spec("generation", 10, channels, size), **(SMALL | options))
    assert isinstance(network, GeneratorAndDiscriminator)
    return network


def learner(network: GeneratorAndDiscriminator | None = None, **options: Any) -> Adversarial:
    return dcgan.learner(network or build(), Settings(("a",), (), (1,), 1, 16, (0.5,), (0.5,)), **options)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def images(number: int = 6) -> Tensor:
    return torch.randint(0, 256, (number, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_published_parameters_of_each_player() -> None:
    with torch.device("meta"):
        reference = build(64, 3, width=64, latent=100)
        paper = build(64, 3, variant="paper", width=128, latent=100)
    assert (parameters(reference.generator), parameters(reference.discriminator)) == (3_576_704, 2_765_568)
    assert parameters(paper.generator) == 18_872_323


def test_the_reference_generator_and_discriminator_are_those_of_the_examples() -> None:
    """The same layers written out by hand give the same numbers."""
    network = build(64, 3)
    up: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False}
    generator = nn.Sequential(
        *(nn.ConvTranspose2d(8, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.ConvTranspose2d(32, 16, **up), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.ConvTranspose2d(16, 8, **up), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.ConvTranspose2d(8, 4, **up), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.ConvTranspose2d(4, 3, **up), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(3, 4, **up), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(4, 8, **up), nn.BatchNorm2d(8), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(8, 16, **up), nn.BatchNorm2d(16), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(16, 32, **up), nn.BatchNorm2d(32), nn.LeakyReLU(0.2)),
        nn.Conv2d(32, 1, 4, 1, 0, bias=False),
    )
    noise = network.sample_noise(3, "cpu")
    pairs = ((network.generator, generator, noise), (network.discriminator, discriminator, torch.rand(3, 3, 64, 64)))
    for ours, theirs, values in pairs:
        theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
        torch.testing.assert_close(ours(values), theirs(values).view_as(ours(values)))


@pytest.mark.parametrize("variant", dcgan.VARIANTS)
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 1), (32, 3), (64, 3)])
def test_samples_have_the_images_shape(variant: str, size: int, channels: int) -> None:
    network = build(size, channels, variant=variant)
    samples, logits = network(torch.rand(2, channels, size, size))
    assert samples.shape == (2, channels, size, size)
    assert float(samples.detach().abs().max()) <= 1
    assert logits.shape == (2,)


def test_noise_is_normal_or_uniform() -> None:
    normal = build(latent=100).sample_noise(200, "cpu")
    uniform = build(latent=100, variant="paper").sample_noise(200, "cpu")
    assert normal.shape == (200, 100, 1, 1)
    assert float(normal.std()) == pytest.approx(1, abs=0.02)
    assert float(uniform.abs().max()) <= 1
    assert float(uniform.std()) == pytest.approx(3**-0.5, abs=0.02)


def test_weights_start_as_published() -> None:
    network = build(32, width=32)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.15), name
        if isinstance(layer, nn.BatchNorm2d):
            assert float(layer.weight.detach().mean()) == pytest.approx(1, abs=0.02), name
            assert 0.01 < float(layer.weight.detach().std()) < 0.03, name
            assert not layer.bias.any()


def test_the_count_takes_both_players_and_needs_no_memory() -> None:
    with torch.device("meta"):
        network = build(64, 3, width=64, latent=100)
    counted = count(network, 3, 64)
    generator = 100 * 512 * 16 + 16 * (4**2 * 512 * 256 + 8**2 * 256 * 128 + 16**2 * 128 * 64 + 32**2 * 64 * 3)
    discriminator = 16 * (32**2 * 3 * 64 + 16**2 * 64 * 128 + 8**2 * 128 * 256 + 4**2 * 256 * 512 + 512)
    assert counted.multiply_adds == generator + discriminator


@pytest.mark.parametrize("objective", adversarial.OBJECTIVES)
def test_objectives_by_hand(objective: str) -> None:
    judge, fool = adversarial.OBJECTIVES[objective]
    real, fake = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-3.0, 0.25, 1.0])
    cross_entropy = binary_cross_entropy_with_logits
    judged = cross_entropy(real, torch.ones(3)) + cross_entropy(fake, torch.zeros(3))
    expected = {
        "non_saturating": (judged, cross_entropy(fake, torch.ones(3))),
        "minimax": (judged, -cross_entropy(fake, torch.zeros(3))),
        "hinge": (torch.tensor((0 + 2 + 0.5) / 3 + (0 + 1.25 + 2) / 3), -fake.mean()),
        "wgan_gp": (torch.tensor((-3 + 0.25 + 1) / 3 - (2 - 1 + 0.5) / 3), -fake.mean()),
    }[objective]
    torch.testing.assert_close((judge(real, fake), fool(fake).mean()), expected)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    """Its slope is its weights wherever one looks; of a critic x² it is 2x, at a point between real and fake."""

    class Linear(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.flatten(1) @ torch.full((256,), 0.25)

    class Square(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.flatten(1).square().sum(1)

    network = build(norm="layer")
    game = learner(network, objective="wgan_gp")
    real, fake, labels = torch.rand(5, 1, 16, 16), torch.rand(5, 1, 16, 16), torch.zeros(5, 0)
    network.discriminator = Linear()
    torch.testing.assert_close(game.gradient_penalty(real, fake, labels), torch.tensor((0.25 * 16 - 1.0) ** 2))
    network.discriminator = Square()
    torch.manual_seed(4)
    penalty = game.gradient_penalty(real, fake, labels)
    torch.manual_seed(4)
    weight = torch.rand(5, 1, 1, 1)
    between = weight * real + (1 - weight) * fake
    torch.testing.assert_close(penalty, ((2 * between).flatten(1).norm(dim=1) - 1).square().mean())


def test_the_penalty_teaches_the_discriminator_alone() -> None:
    game = learner(build(norm="layer"), objective="wgan_gp")
    losses = played(game, "discriminator")
    assert list(losses) == ["discriminator", "penalty"]
    losses["penalty"].backward()
    assert all(value.grad is None for value in game.network.generator.parameters())
    assert (
        sum(
            float(value.grad.abs().sum()) for value in game.network.discriminator.parameters() if value.grad is not None
        )
        > 0
    )
    assert list(played(game, "generator")) == ["generator"]


def test_the_penalty_is_ten_times_the_steepness(monkeypatch: pytest.MonkeyPatch) -> None:
    game = learner(build(norm="layer"), objective="wgan_gp")
    monkeypatch.setattr(game, "gradient_penalty", lambda *_: torch.tensor(0.3))
    assert float(played(game, "discriminator")["penalty"]) == pytest.approx(3)


def test_players_receive_the_class() -> None:
    network = dcgan.build(Spec("generation", 3, 1, 16), width=4, latent=8, conditional=True)
    assert isinstance(network, GeneratorAndDiscriminator)
    inputs: dict[str, Tensor] = {}
    for name in ("generator", "discriminator"):
        player = network.get_submodule(name)
        player.register_forward_pre_hook(lambda _module, args, name=name: inputs.update({name: args[0]}))
    labels, noise = torch.eye(3)[[2, 0]], network.sample_noise(2, "cpu")
    samples = network.eval().generate(noise, labels)
    torch.testing.assert_close(inputs["generator"], torch.cat([noise, labels[:, :, None, None]], 1))
    network.discriminate(samples, labels)
    assert inputs["discriminator"].shape == (2, 4, 16, 16)
    assert (inputs["discriminator"][0, 3] == 1).all()
    assert not inputs["discriminator"][0, 1:3].any()
    assert not torch.equal(samples, network.generate(noise, labels.flip(0)))
    plain = build()
    assert torch.equal(plain.eval().generate(noise, labels), plain.generate(noise, labels.flip(0)))


def played(game: Adversarial, phase: str) -> dict[str, Tensor]:
    torch.manual_seed(3)
    losses: dict[str, Tensor] = game.train()(images(), torch.zeros(6, 1), phase)
    return losses


def test_each_phase_gives_gradients_to_its_own_player_alone() -> None:
    for phase in ("discriminator", "generator"):
        game = learner()
        losses = played(game, phase)
        assert list(losses) == [phase]
        losses[phase].backward()
        for name, parameter in game.network.named_parameters():
            assert (parameter.grad is not None) == name.startswith(phase), name
            assert parameter.requires_grad


def test_the_generators_gradient_is_that_of_the_whole_game() -> None:
    game, plain = learner(), learner()
    played(game, "generator")["generator"].backward()
    torch.manual_seed(3)
    network = plain.train().network
    logits = network.discriminator(network.generator(network.sample_noise(6, "cpu")))
    binary_cross_entropy_with_logits(logits, torch.ones(6)).backward()
    for ours, theirs in zip(game.network.generator.parameters(), network.generator.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_real_and_fake_images_are_separate_batches_of_the_discriminator() -> None:
    game = learner()
    batches: list[Tensor] = []
    game.network.discriminator.register_forward_pre_hook(lambda _module, inputs: batches.append(inputs[0]))
    played(game, "discriminator")
    real, fake = batches
    torch.testing.assert_close(real, images().float() / 255 * 2 - 1)
    assert fake.shape == real.shape
    assert not fake.requires_grad


def test_phases_hold_every_parameter_once_and_the_generator_may_wait() -> None:
    first, second = learner(every=3).phases
    assert (first.name, first.every, second.name, second.every) == ("discriminator", 1, "generator", 3)
    assert len({*first.parameters, *second.parameters}) == len(list(build().parameters()))


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match="size: 48 is not a power of two from 16 on; dcgan needs 16, 32, 64 or 128"):
        build(48)
    with pytest.raises(UserError, match=r"options\.variant: no variant is named 'papr'"):
        build(variant="papr")
    with pytest.raises(UserError, match=r"loss\.objective: no objective is named 'hing'; did you mean 'hinge'"):
        learner(objective="hing")
    with pytest.raises(UserError, match=r"batch normalization mixes images\. Set options\.norm: layer"):
        learner(objective="wgan_gp")
    with pytest.raises(UserError, match=r"loss\.every: 0; it must be at least 1"):
        learner(every=0)


JOB = {
    "task": "generation",
    "architecture": "dcgan",
    "size": 16,
    "epochs": 2,
    "batch": 256,
    "options": SMALL,
    "optimizer": "adamw",
    "momentum": 0.5,
    "lr": 0.002,
    "ema": 0.9,
    "loss": {"every": 2},
}


def test_interrupted_after_an_epoch_it_ends_with_the_same_bytes(
    project: Callable[..., tuple[Path, Params]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "COLLAPSED", 99.0)
    root, params = project({"gan": JOB})
    order = support.job_specs(root, params)["gan"]
    loop.train(order, Ranks())
    stopped = dataclasses.replace(order, work=order.work.with_name("stopped"))
    loop.Trainer(stopped, Ranks()).epoch()
    loop.train(stopped, Ranks())
    assert JobState.of(stopped).read()["resumed_at_step"] > 0
    assert store.content_digest(stopped.model) == store.content_digest(order.model)
    rows = history.read(order.model / history.FILE)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all({"train/discriminator", "train/generator", "train/loss"} <= row.keys() for row in rows)
    entry = JobState.of(order).read()
    assert "mode collapse" in follow.line("gan", entry)
    assert entry["remark"].startswith(f"diversity {rows[-1]['val/diversity']:.2f}")
    assert all(row["val/FID[pixels]"] > 0 and row["val/diversity"] > 0 for row in rows)


def test_a_class_that_the_dataset_does_not_have_is_refused(tmp_path: Path) -> None:
    conditional = {**JOB, "options": {**SMALL, "conditional": True}}
    scenes = {"format": "scenes", "options": {"train": 21, "val": 5, "test": 2}}
    params = support.write_params(tmp_path, {"gan": {**conditional, "dataset": "scenes"}}, datasets={"scenes": scenes})
    support.prepared(tmp_path, params)
    with pytest.raises(UserError, match=r"jobs\.gan\.options\.conditional: needs label, which scenes lacks"):
        support.job_specs(tmp_path, params)
