"""The first adversarial networks: fully connected players, noise through rectifiers to pixels, pixels through maxout.

Goodfellow et al.: Generative Adversarial Nets, NIPS 2014, https://arxiv.org/abs/1406.2661; maxout: Goodfellow et al.:
Maxout Networks, ICML 2013, https://arxiv.org/abs/1302.4389. Published: Parzen-window log-likelihood 225 ± 2 nats on
MNIST.

Promise: the networks that the authors released for MNIST, 2,503,984 + 1,231,441 parameters. Two hidden layers of 1,200
rectifiers draw through a sigmoid; two of 240 maxout units of five pieces judge, with dropout of a fifth of the pixels
and half of what is behind them. Noise is normal; weights start uniform. All biases start at 0, where theirs of the
drawn pixels started at the train set's means. They trained by plain gradient steps, `lr: 0.1`, `momentum: 0.5` in
batches of 100, the discriminator's loss halved.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from pipeline.learners.adversarial import Adversarial, GeneratorAndDiscriminator
from pipeline.learners.base import Settings
from pipeline.models.parts.spec import Spec

TASKS = ("generation",)
PAPER = {"input": [1, 28, 28], "classes": 0, "options": {}, "parameters": 3_735_425}
#: what a dataset must hold where an option is set
OPTION_NEEDS = {"conditional": ("label",)}
#: bounds of the uniform weights that the generator and the discriminator start from
RANGES = (0.05, 0.005)


def build(
    spec: Spec,
    *,
    width: int = 1200,
    units: int = 240,
    pieces: int = 5,
    latent: int = 100,
    dropout: bool = True,
    conditional: bool = False,
) -> nn.Module:
    """Both players for images C×S×S.

    width: the generator's hidden rectifiers · units, pieces: the discriminator's hidden maxout units, and the linear
    functions that each takes the largest of · latent: numbers of noise an image · dropout: in the discriminator ·
    conditional: both players are told the image's class.
    """
    told = spec.classes if conditional else 0
    shape = (spec.channels, spec.size, spec.size)
    pixels = spec.channels * spec.size**2
    generator = nn.Sequential(
        OrderedDict(
            hidden1=nn.Sequential(nn.Flatten(), nn.Linear(latent + told, width), nn.ReLU()),
            hidden2=nn.Sequential(nn.Linear(width, width), nn.ReLU()),
            draw=nn.Sequential(nn.Linear(width, pixels), nn.Sigmoid(), Scale(2, -1), nn.Unflatten(1, shape)),
        )
    )
    drop_pixels, drop_hidden = (0.2, 0.5) if dropout else (0.0, 0.0)
    discriminator = nn.Sequential(
        OrderedDict(
            hidden1=nn.Sequential(nn.Dropout(drop_pixels), Maxout(pixels + told, units, pieces)),
            hidden2=nn.Sequential(nn.Dropout(drop_hidden), Maxout(units, units, pieces)),
            judge=nn.Sequential(nn.Dropout(drop_hidden), nn.Linear(units, 1), nn.Flatten(0)),
        )
    )
    for player, bound in zip((generator, discriminator), RANGES, strict=True):
        for layer in player.modules():
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -bound, bound)
                nn.init.zeros_(layer.bias)
    return GAN(generator, discriminator, latent=latent, classes=told)


class GAN(GeneratorAndDiscriminator):
    """Players without maps: the discriminator reads pixels 0..1 in a row, and behind them the class that it is told."""

    def discriminate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Discriminator logits B of images −1..1."""
        pixels = (images.flatten(1) + 1) / 2
        logits: Tensor = self.discriminator(torch.cat([pixels, labels[:, : self.classes]], dim=1))
        return logits


class Maxout(nn.Module):
    """B×inputs → B×units, each the largest of `pieces` linear functions."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units * pieces)
        self.pieces = pieces

    def forward(self, values: Tensor) -> Tensor:
        """The largest piece of each unit."""
        return self.linear(values).unflatten(1, (-1, self.pieces)).amax(dim=2)


class Scale(nn.Module):
    """values · factor + shift."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, values: Tensor) -> Tensor:
        """Of the same shape."""
        return values * self.factor + self.shift


def learner(
    network: nn.Module, settings: Settings, *, objective: str = "non_saturating", every: int = 1
) -> Adversarial:
    """The game; objective: non_saturating, minimax, hinge or wgan_gp · every: batches to one step of the generator."""
    return Adversarial(network, settings, objective, every)
