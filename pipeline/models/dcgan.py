"""DCGAN: a generator that draws images from noise, and a discriminator that tells them from real ones.

Radford, Metz, Chintala: Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks, ICLR 2016, https://arxiv.org/abs/1511.06434; the game is Goodfellow et al.: Generative Adversarial
Nets, NIPS 2014, https://arxiv.org/abs/1406.2661. Published: features of its discriminator with a linear SVM
classify 82.8 % of CIFAR-10.

Promise: `variant: reference`, the reading that became common (4×4 windows, no biases, normal noise), has
3,576,704 + 2,765,568 parameters at 3×64×64. `variant: paper` with `width: 128` projects uniform noise by a dense
layer and uses 5×5 windows with biases; its generator has 18,872,323. The paper trains by Adam with rate 0.0002 and
β₁ 0.5, which are `optimizer: adamw`, `lr` and `momentum`, at a constant rate in batches of 128.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models._spec import Spec
from pipeline.tasks._learner import Phase, Settings
from pipeline.tasks.generation import Sampler

TASKS = ("generation",)
PAPER = {"input": [3, 64, 64], "classes": 0, "options": {"variant": "reference"}, "parameters": 6_342_272}
VARIANTS = ("reference", "paper")

#: side of the generator's first map and of the discriminator's last, and the smallest image
SEED_PX, SMALLEST = 4, 16

#: loss → what the discriminator minimises given realness of real and of fake images, and the generator of its own
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "non_saturating": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: softplus(-fake)),
    "minimax": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: -softplus(fake)),
    "hinge": (lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(), lambda fake: -fake),
}


def build(spec: Spec, *, variant: str = "reference", width: int = 64, latent: int = 100) -> nn.Module:
    """Both players for images C×S×S, S a power of two; `width` maps at S/2, `latent` numbers of noise an image."""
    if variant not in VARIANTS:
        raise UserError(f"options.variant: {plugins.unknown('variant', variant, VARIANTS)}")
    if spec.size < SMALLEST or spec.size & (spec.size - 1):
        raise UserError(f"size: dcgan doubles its maps, so {spec.size} is no size for it; use 16, 32, 64 or 128")
    widths = [width]
    while SEED_PX * 2 ** len(widths) < spec.size:
        widths.append(2 * widths[-1])
    players = _generator(widths[::-1], spec.channels, latent, variant), _discriminator(widths, spec.channels, variant)
    return DCGAN(*players, latent=latent, uniform=variant == "paper").apply(_initialise)


class DCGAN(nn.Module):
    """Both players; images are −1..1, realness is a logit."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, *, latent: int, uniform: bool) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.latent, self.uniform = latent, uniform

    def noise(self, count: int, device: torch.device | str, source: torch.Generator | None = None) -> Tensor:
        """B×latent×1×1, normal or uniform in −1..1, from `source` or torch's global stream."""
        shape = (count, self.latent, 1, 1)
        if self.uniform:
            return torch.rand(shape, device=device, generator=source) * 2 - 1
        return torch.randn(shape, device=device, generator=source)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images B×C×S×S → as many new ones, from fresh noise, and the realness B of the given ones."""
        return self.generator(self.noise(len(images), images.device)), self.discriminator(images)


def _generator(widths: list[int], channels: int, latent: int, variant: str) -> nn.Module:
    """Noise B×latent×1×1 → images: maps from 4×4 on, doubled by each transposed convolution."""
    first = widths[0]
    if variant == "paper":
        dense = nn.Linear(latent, first * SEED_PX**2)
        project: list[nn.Module] = [nn.Flatten(), dense, nn.Unflatten(1, (first, SEED_PX, SEED_PX))]
    else:
        project = [nn.ConvTranspose2d(latent, first, SEED_PX, bias=False)]
    layers: OrderedDict[str, nn.Module] = OrderedDict(project=nn.Sequential(*project, nn.BatchNorm2d(first), nn.ReLU()))
    for number, (wide, narrow) in enumerate(pairwise(widths), start=1):
        layers[f"up{number}"] = nn.Sequential(_up(wide, narrow, variant), nn.BatchNorm2d(narrow), nn.ReLU())
    layers["draw"] = nn.Sequential(_up(widths[-1], channels, variant), nn.Tanh())
    return nn.Sequential(layers)


def _discriminator(widths: list[int], channels: int, variant: str) -> nn.Module:
    """Images → realness B: maps halved by each strided convolution down to 4×4; no batch norm on the first."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        down1=nn.Sequential(_down(channels, widths[0], variant), nn.LeakyReLU(0.2))
    )
    for number, (narrow, wide) in enumerate(pairwise(widths), start=2):
        layers[f"down{number}"] = nn.Sequential(_down(narrow, wide, variant), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2))
    if variant == "paper":
        layers["judge"] = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * SEED_PX**2, 1), nn.Flatten(0))
    else:
        layers["judge"] = nn.Sequential(nn.Conv2d(widths[-1], 1, SEED_PX, bias=False), nn.Flatten(0))
    return nn.Sequential(layers)


def _up(inner: int, outer: int, variant: str) -> nn.Module:
    if variant == "paper":
        return nn.ConvTranspose2d(inner, outer, 5, stride=2, padding=2, output_padding=1)
    return nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1, bias=False)


def _down(inner: int, outer: int, variant: str) -> nn.Module:
    if variant == "paper":
        return nn.Conv2d(inner, outer, 5, stride=2, padding=2)
    return nn.Conv2d(inner, outer, 4, stride=2, padding=1, bias=False)


def _initialise(layer: nn.Module) -> None:
    """Weights N(0, 0.02), scales of batch norm N(1, 0.02), biases 0."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class Adversarial(Sampler):
    """The game: the discriminator learns to tell real from fake images, the generator to be taken for real."""

    network: DCGAN

    def __init__(self, network: nn.Module, settings: Settings, loss: str, every: int) -> None:
        super().__init__(network, settings)
        self.judge, self.fool = LOSSES[loss]
        self.every = every

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The discriminator's step, then the generator's."""
        return (
            Phase("discriminator", tuple(self.network.discriminator.parameters())),
            Phase("generator", tuple(self.network.generator.parameters()), self.every),
        )

    def losses(self, outputs: Tensor, targets: Tensor, phase: str) -> dict[str, Tensor]:
        """The player's mean loss in nats (or hinge units) on real images −1..1 and as many fresh fakes.

        Real and fake images are judged in batches of their own, so that batch norm sees one kind at a time.
        """
        noise = self.network.noise(len(outputs), outputs.device)
        if phase == "discriminator":
            with torch.no_grad():
                fakes = self.network.generator(noise)
            realness = self.network.discriminator(outputs).float(), self.network.discriminator(fakes).float()
            return {phase: self.judge(*realness)}
        with _fixed(self.network.discriminator):
            return {phase: self.fool(self.network.discriminator(self.network.generator(noise)).float()).mean()}

    def doubts(self, fakes: Tensor) -> Tensor:
        """How sure the discriminator is that an image is no real one, 0 to 1."""
        return torch.sigmoid(-self.network.discriminator(fakes).float())


@contextlib.contextmanager
def _fixed(module: nn.Module) -> Iterator[None]:
    """Gradients pass through the module and do not stay in its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def learner(network: nn.Module, settings: Settings, *, loss: str = "non_saturating", every: int = 1) -> Adversarial:
    """The game by `loss`: non_saturating, minimax or hinge; the generator learns at every `every`-th batch only."""
    if loss not in LOSSES:
        raise UserError(f"loss.loss: {plugins.unknown('loss', loss, LOSSES)}")
    return Adversarial(network, settings, loss, every)
