"""The game of two players: a generator draws images from noise, a discriminator tells them from real ones.

Goodfellow et al.: Generative Adversarial Nets, NIPS 2014, https://arxiv.org/abs/1406.2661. Objectives besides its
two: hinge of Lim and Ye 2017, https://arxiv.org/abs/1705.02894; Wasserstein distance with a penalty on gradients of
Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028. Classes told to both: Mirza and Osindero 2014,
https://arxiv.org/abs/1411.1784.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.tasks._learner import Phase, Settings
from pipeline.tasks.generation import Sampler

#: objective → what the discriminator minimises given realness of real and of fake images, and the generator of its own
OBJECTIVES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "non_saturating": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: softplus(-fake)),
    "minimax": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: -softplus(fake)),
    "hinge": (lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(), lambda fake: -fake),
    "wgan_gp": (lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake),
}
#: the weight of the penalty on gradients, λ of Gulrajani et al.
PENALTY = 10.0


class Players(nn.Module):
    """Both players; images are −1..1, realness is a logit. `classes` is how many they are told of, 0 for none."""

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, *, latent: int, classes: int = 0, uniform: bool = False
    ) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.latent, self.classes, self.uniform = latent, classes, uniform

    def noise(self, count: int, device: torch.device | str, source: torch.Generator | None = None) -> Tensor:
        """B×latent×1×1, normal or uniform in −1..1, from `source` or torch's global stream."""
        shape = (count, self.latent, 1, 1)
        if self.uniform:
            return torch.rand(shape, device=device, generator=source) * 2 - 1
        return torch.randn(shape, device=device, generator=source)

    def between(self, start: Tensor, end: Tensor, steps: int) -> Tensor:
        """steps×latent×1×1 on the way from one noise 1×latent×1×1 to another, each as likely as these.

        Straight in the cube of uniform noise; along an arc where noise is normal, for a mean is shorter than its ends.
        """
        share = torch.linspace(0, 1, steps).view(-1, 1, 1, 1)
        if self.uniform:
            return start + share * (end - start)
        return torch.cos(share * torch.pi / 2) * start + torch.sin(share * torch.pi / 2) * end

    def draw(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Images B×C×S×S from noise, and from shares of classes B×K where the players are told of them."""
        images: Tensor = self.generator(torch.cat([noise, labels[:, : self.classes, None, None]], dim=1))
        return images

    def judge(self, images: Tensor, labels: Tensor) -> Tensor:
        """The realness B of images; each class that the players are told of is a constant map beside the channels."""
        maps = labels[:, : self.classes, None, None].expand(-1, -1, *images.shape[2:])
        realness: Tensor = self.discriminator(torch.cat([images, maps], dim=1))
        return realness

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images B×C×S×S → as many new ones, from fresh noise, and the realness B of the given ones; of no class."""
        labels = images.new_zeros(len(images), self.classes)
        return self.draw(self.noise(len(images), images.device), labels), self.judge(images, labels)


class Adversarial(Sampler):
    """The game: the discriminator learns to tell real from fake images, the generator to be taken for real."""

    network: Players

    def __init__(self, network: nn.Module, settings: Settings, objective: str, every: int) -> None:
        super().__init__(network, settings)
        if objective not in OBJECTIVES:
            raise UserError(f"loss.objective: {plugins.unknown('objective', objective, OBJECTIVES)}")
        if every < 1:
            raise UserError(f"loss.every: {every} batches are none. Use 1 or more.")
        mixed = any(isinstance(layer, nn.BatchNorm2d) for layer in self.network.discriminator.modules())
        if objective == "wgan_gp" and mixed:
            raise UserError(
                "loss.objective: wgan_gp asks how realness changes with each image alone, and batch normalisation "
                "mixes images. Set options.norm: layer."
            )
        self.judge, self.fool = OBJECTIVES[objective]
        self.penalised = objective == "wgan_gp"
        self.every = every

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The discriminator's step, then the generator's."""
        return (
            Phase("discriminator", tuple(self.network.discriminator.parameters())),
            Phase("generator", tuple(self.network.generator.parameters()), self.every),
        )

    def losses(self, outputs: Tensor, targets: Tensor, phase: str) -> dict[str, Tensor]:
        """The player's mean loss on real images −1..1, of classes B×K, and as many fresh fakes of the same classes.

        In nats, or in units of realness (hinge, wgan_gp). Real and fake images are judged in batches of their own, so
        that batch norm sees one kind at a time.
        """
        noise = self.network.noise(len(outputs), outputs.device)
        if phase == "generator":
            with _fixed(self.network.discriminator):
                realness = self.network.judge(self.network.draw(noise, targets), targets)
            return {phase: self.fool(realness.float()).mean()}
        with torch.no_grad():
            fakes = self.network.draw(noise, targets)
        real, fake = (self.network.judge(images, targets).float() for images in (outputs, fakes))
        losses = {phase: self.judge(real, fake)}
        if self.penalised:
            losses["penalty"] = PENALTY * self.steepness(outputs, fakes, targets)
        return losses

    def steepness(self, real: Tensor, fakes: Tensor, labels: Tensor) -> Tensor:
        """Mean (|∂realness/∂image| − 1)² at an image between each real one and a fake."""
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * fakes).requires_grad_()
        realness = self.network.judge(between, labels).float().sum()
        (slopes,) = torch.autograd.grad(realness, between, create_graph=True)
        return (slopes.flatten(1).norm(dim=1) - 1).square().mean()

    def doubts(self, fakes: Tensor, labels: Tensor) -> Tensor:
        """How sure the discriminator is that an image is no real one, 0 to 1; in wgan_gp it is only an order."""
        return torch.sigmoid(-self.network.judge(fakes, labels).float())


@contextlib.contextmanager
def _fixed(module: nn.Module) -> Iterator[None]:
    """Gradients pass through the module and do not stay in its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
