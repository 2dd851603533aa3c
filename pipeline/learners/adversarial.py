"""The game of two players: a generator draws images from noise, a discriminator tells them from real ones.

Goodfellow et al.: Generative Adversarial Nets, NIPS 2014, https://arxiv.org/abs/1406.2661. Objectives besides its
two: hinge of Lim and Ye 2017, https://arxiv.org/abs/1705.02894; Wasserstein distance with a penalty on gradients of
Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028. Classes told to both: Mirza and Osindero 2014,
https://arxiv.org/abs/1411.1784.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import relu, softplus

from pipeline import images as files
from pipeline import plugins
from pipeline.errors import UserError
from pipeline.learners.base import Learner, Phase, Settings
from pipeline.learners.feature_extractor import Memory, head, seen

#: the extractor's name where images are compared by pixels
PIXELS = "pixels"
#: images of a snapshot, and its columns
FIXED, COLUMNS = 40, 8
Pictures = NDArray[np.uint8]
#: objective → what the discriminator minimises given realness of real and of fake images, and the generator of its own
OBJECTIVES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "non_saturating": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: softplus(-fake)),
    "minimax": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: -softplus(fake)),
    "hinge": (lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(), lambda fake: -fake),
    "wgan_gp": (lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake),
}
#: the weight of the penalty on gradients, λ of Gulrajani et al.
PENALTY = 10.0


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated image, S×S×3 uint8.

    severity: how unreal it looks to the model itself, 0 to 1 · extractor: whose features `real` (of the given
    image) and `fake` (of this one) are; without features, pixels are compared · shares: of classes, by it.
    """

    image: NDArray[np.uint8]
    severity: float = 0.0
    extractor: str = PIXELS
    real: NDArray[np.float32] | None = None
    fake: NDArray[np.float32] | None = None
    shares: NDArray[np.float32] | None = None


class Sampler(Learner):
    """A network with `noise(count, device, source)` and `draw(noise, labels)` → images −1..1; losses are its heirs'."""

    network: Any
    memory: Memory

    def use(self, extractor: Learner, kept: Path | None = None) -> None:
        """Take the classifier whose features measure the images."""
        if head(extractor) is None:
            raise UserError(f"extractor: {extractor.name} is no classifier. Name a classification job.")
        super().use(extractor)
        object.__setattr__(self, "memory", Memory(extractor, kept))

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 0..255 → float −1..1, the range of tanh."""
        return images.float() / 127.5 - 1

    def forward(self, images: Tensor, targets: Any = None, phase: str = "train") -> Any:
        """With targets: losses by name on the real images. Without: a generated image for each given one."""
        return self.sample(images) if targets is None else self.losses(self.normalize(images), targets, phase)

    def sample(self, images: Tensor) -> list[Generated]:
        """One image for each of B×C×S×S uint8, with the features of both where there is an extractor."""
        fakes, doubts = self.made(images)
        pictures, severities = pictures_of(fakes.cpu()), doubts.tolist()
        if self.extractor is None:
            return [Generated(picture, doubt) for picture, doubt in zip(pictures, severities, strict=True)]
        real, _ = self.memory.seen(images)
        found = zip(pictures, severities, real, *seen(self.extractor, fakes), strict=True)
        return [Generated(picture, doubt, self.extractor.name, *more) for picture, doubt, *more in found]

    def made(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """For B×C×S×S uint8 as many generated ones, and how unreal each looks to the model itself."""
        noise, labels = (torch.cat(parts).to(images.device) for parts in zip(*map(self._chosen, images), strict=True))
        drawn = self.network.draw(noise, labels).float()
        return self.pixels(drawn), self.doubts(drawn, labels)

    def pixels(self, drawn: Tensor) -> Tensor:
        """−1..1 → uint8."""
        return ((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def snapshot(self) -> NDArray[np.uint8]:
        """The same noise drawn each time, a sheet of images in which a person sees the generator learn."""
        return files.grid([*pictures_of(fixed(self))], COLUMNS, side=self.settings.size, gap=1)

    def _chosen(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The noise 1×… and the class 1×K that an image stands for."""
        seed = hashlib.blake2b(image.cpu().contiguous().numpy().tobytes(), digest_size=8).digest()
        source = torch.Generator().manual_seed(int.from_bytes(seed, "big"))
        noise = self.network.noise(1, "cpu", source)
        shares = torch.tensor(self.settings.class_counts, dtype=torch.float32)
        if not shares.any():
            return noise, shares[None]
        return noise, F.one_hot(torch.multinomial(shares, 1, generator=source), len(shares)).float()

    def doubts(self, fakes: Tensor, labels: Tensor) -> Tensor:
        """How unreal each image −1..1 of a class looks to the model itself, 0 to 1; 0 where it has no opinion."""
        return torch.zeros(len(fakes))


def fixed(sampler: Any) -> Tensor:
    """uint8 FIXED×C×S×S of noise that is always the same, of each class in turn where classes are told."""
    source, kinds = torch.Generator().manual_seed(0), len(sampler.settings.classes)
    noise = sampler.network.noise(FIXED, "cpu", source)
    labels = F.one_hot(torch.arange(FIXED) % kinds, kinds).float() if kinds else torch.zeros(FIXED, 0)
    device = sampler.mean.device
    return sampler.pixels(sampler.network.draw(noise.to(device), labels.to(device)).float()).cpu()


def pictures_of(images: Tensor) -> Pictures:
    """B×C×S×S → B×S×S×3."""
    return images.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).contiguous().numpy()


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
