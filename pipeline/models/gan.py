"""The first GAN: a fully connected generator with rectifiers and a fully connected discriminator with maxout units.

Goodfellow et al.: Generative Adversarial Nets, NIPS 2014, https://arxiv.org/abs/1406.2661; maxout: Goodfellow et al.:
Maxout Networks, ICML 2013, https://arxiv.org/abs/1302.4389. Published: Parzen-window log-likelihood 225 ± 2 nats on
MNIST.

Promise: the networks that the authors released for MNIST, 2,503,984 + 1,231,441 parameters. The generator has two
hidden layers of 1,200 rectifiers and a sigmoid; the discriminator has two of 240 maxout units of five pieces, with
dropout of 0.2 on the pixels and 0.5 on the hidden layers. Noise is normal; weights start uniform. All biases start at
0; the authors' biases of generated pixels started at the train set's means. They trained by plain gradient steps,
`lr: 0.1`, `momentum: 0.5` in batches of 100, the discriminator's loss halved.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from pipeline.learners.adversarial import Adversarial, GeneratorAndDiscriminator
from pipeline.learners.base import Settings
from pipeline.models.parts.spec import Spec

TASKS = ("generation",)
PAPER = {"input": [1, 28, 28], "classes": 0, "options": {}, "parameters": 3_735_425}
#: fields that a dataset must have if an option is set
OPTION_NEEDS = {"conditional": ("label",)}
#: bounds of the uniform initial weights of the generator and of the discriminator
INIT_BOUNDS = (0.05, 0.005)


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
    """Generator and discriminator for images C×S×S.

    width: rectifiers per hidden layer of the generator · units, pieces: maxout units per hidden layer of the
    discriminator, and linear functions per unit · latent: noise values per image · dropout: in the discriminator ·
    conditional: both networks receive the image's class.
    """
    condition_classes = spec.classes if conditional else 0
    shape = (spec.channels, spec.size, spec.size)
    pixels = spec.channels * spec.size**2
    generator = nn.Sequential(
        OrderedDict(
            hidden1=nn.Sequential(nn.Flatten(), nn.Linear(latent + condition_classes, width), nn.ReLU()),
            hidden2=nn.Sequential(nn.Linear(width, width), nn.ReLU()),
            draw=nn.Sequential(nn.Linear(width, pixels), nn.Sigmoid(), Scale(2, -1), nn.Unflatten(1, shape)),
        )
    )
    drop_pixels, drop_hidden = (0.2, 0.5) if dropout else (0.0, 0.0)
    discriminator = nn.Sequential(
        OrderedDict(
            hidden1=nn.Sequential(nn.Dropout(drop_pixels), Maxout(pixels + condition_classes, units, pieces)),
            hidden2=nn.Sequential(nn.Dropout(drop_hidden), Maxout(units, units, pieces)),
            judge=nn.Sequential(nn.Dropout(drop_hidden), nn.Linear(units, 1), nn.Flatten(0)),
        )
    )
    for network, bound in zip((generator, discriminator), INIT_BOUNDS, strict=True):
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -bound, bound)
                nn.init.zeros_(layer.bias)
    return GAN(generator, discriminator, latent=latent, classes=condition_classes)


class GAN(GeneratorAndDiscriminator):
    """Fully connected players: the discriminator reads pixels 0..1 as a vector, and the class behind them."""

    def discriminate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Discriminator logits B of images −1..1."""
        pixels = (images.flatten(1) + 1) / 2
        logits: Tensor = self.discriminator(torch.cat([pixels, labels[:, : self.classes]], dim=1))
        return logits


class Maxout(nn.Module):
    """B×inputs → B×units; each unit is the maximum of `pieces` linear functions."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units * pieces)
        self.pieces = pieces

    def forward(self, values: Tensor) -> Tensor:
        """B×inputs → the maximum over the pieces, B×units."""
        return self.linear(values).unflatten(1, (-1, self.pieces)).amax(dim=2)


class Scale(nn.Module):
    """values · factor + shift."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, values: Tensor) -> Tensor:
        """Any shape → the same shape."""
        return values * self.factor + self.shift


def learner(
    network: nn.Module, settings: Settings, *, objective: str = "non_saturating", every: int = 1
) -> Adversarial:
    """The learner of both networks.

    objective: non_saturating, minimax, hinge or wgan_gp · every: batches per step of the generator.
    """
    return Adversarial(network, settings, objective, every)
