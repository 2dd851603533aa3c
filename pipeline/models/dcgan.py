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

from collections import OrderedDict
from itertools import pairwise

from torch import nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.learners.adversarial import Adversarial, GeneratorAndDiscriminator
from pipeline.learners.base import Settings
from pipeline.models.parts.spec import Spec

TASKS = ("generation",)
PAPER = {"input": [3, 64, 64], "classes": 0, "options": {"variant": "reference"}, "parameters": 6_342_272}
#: what a dataset must hold where an option is set
OPTION_NEEDS = {"conditional": ("label",)}
VARIANTS, NORMS = ("reference", "paper"), ("batch", "layer")

#: side of the generator's first map and of the discriminator's last, and the smallest image
SEED_PX, SMALLEST = 4, 16


def build(
    spec: Spec,
    *,
    variant: str = "reference",
    width: int = 64,
    latent: int = 100,
    conditional: bool = False,
    norm: str = "batch",
) -> nn.Module:
    """Both players for images C×S×S, S a power of two.

    width: maps at S/2 · latent: numbers of noise an image · conditional: both players are told the image's class ·
    norm: the discriminator's, `batch` or `layer`; wgan_gp needs the latter.
    """
    for option, value, known in (("variant", variant, VARIANTS), ("norm", norm, NORMS)):
        if value not in known:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, known)}")
    if spec.size < SMALLEST or spec.size & (spec.size - 1):
        raise UserError(f"size: dcgan doubles its maps, so {spec.size} is no size for it; use 16, 32, 64 or 128")
    widths = [width]
    while SEED_PX * 2 ** len(widths) < spec.size:
        widths.append(2 * widths[-1])
    told = spec.classes if conditional else 0
    generator = _generator(widths[::-1], spec.channels, latent + told, variant)
    discriminator = _discriminator(widths, spec.channels + told, variant, norm)
    players = GeneratorAndDiscriminator(
        generator, discriminator, latent=latent, classes=told, uniform=variant == "paper"
    )
    return players.apply(_initialise)


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


def _discriminator(widths: list[int], channels: int, variant: str, norm: str) -> nn.Module:
    """Images → realness B: maps halved by each strided convolution down to 4×4; the first are not normalised."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        down1=nn.Sequential(_down(channels, widths[0], variant), nn.LeakyReLU(0.2))
    )
    for number, (narrow, wide) in enumerate(pairwise(widths), start=2):
        normalized = nn.BatchNorm2d(wide) if norm == "batch" else nn.GroupNorm(1, wide)
        layers[f"down{number}"] = nn.Sequential(_down(narrow, wide, variant), normalized, nn.LeakyReLU(0.2))
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


def learner(
    network: nn.Module, settings: Settings, *, objective: str = "non_saturating", every: int = 1
) -> Adversarial:
    """The game; objective: non_saturating, minimax, hinge or wgan_gp · every: batches to one step of the generator."""
    return Adversarial(network, settings, objective, every)
