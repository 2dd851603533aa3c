"""Adversarial training: a generator makes images from noise, a discriminator separates them from real images.

Goodfellow et al.: Generative Adversarial Nets, NIPS 2014, https://arxiv.org/abs/1406.2661. Further objectives: hinge
loss of Lim and Ye 2017, https://arxiv.org/abs/1705.02894; Wasserstein distance with gradient penalty of Gulrajani et
al. 2017, https://arxiv.org/abs/1704.00028. Class-conditional networks: Mirza and Osindero 2014,
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
from pipeline.learners.feature_extractor import FeatureCache, extract, head

#: the extractor's name where images are compared by pixels
PIXELS = "pixels"
#: images of a snapshot, and its columns
SNAPSHOT_IMAGES, COLUMNS = 40, 8
Pictures = NDArray[np.uint8]
#: objective → the discriminator's loss from logits of real and of fake images, and the generator's loss per fake image
OBJECTIVES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "non_saturating": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: softplus(-fake)),
    "minimax": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: -softplus(fake)),
    "hinge": (lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(), lambda fake: -fake),
    "wgan_gp": (lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake),
}
#: weight of the gradient penalty, λ of Gulrajani et al.
PENALTY_WEIGHT = 10.0


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated image.

    image: S×S×3 uint8 · severity: the discriminator's probability that it is fake, 0 to 1 · extractor: name of the
    network whose features `real` (D, of the given real image) and `fake` (D, of this one) are; without features, pixels
    are compared · probabilities: of classes (K), by the extractor · fit: how real images became the network's input.
    """

    image: NDArray[np.uint8]
    severity: float = 0.0
    extractor: str = PIXELS
    real: NDArray[np.float32] | None = None
    fake: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None
    fit: str = "stretch"


class Sampler(Learner):
    """Samples from a network with `sample_noise(count, device, source)` and `generate(noise, labels)` → images −1..1.

    Subclasses add the losses.
    """

    network: Any
    feature_cache: FeatureCache

    def use_extractor(self, extractor: Learner, cache_folder: Path | None = None) -> None:
        """Measure generated images by the features of this classifier."""
        if head(extractor) is None:
            raise UserError(f"extractor: {extractor.name} is not a classifier. Name a classification job.")
        super().use_extractor(extractor)
        object.__setattr__(self, "feature_cache", FeatureCache(extractor, cache_folder))

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 0..255 → float −1..1, the range of tanh."""
        return images.float() / 127.5 - 1

    def forward(self, images: Tensor, targets: Any = None, phase: str = "train") -> Any:
        """With targets: losses by name on the real images. Without: one generated image per given image."""
        return self.predict_for(images) if targets is None else self.losses(self.normalize(images), targets, phase)

    def predict_for(self, images: Tensor) -> list[Generated]:
        """One generated image per image of B×C×S×S uint8, with features of both if there is an extractor."""
        fakes, probabilities = self.generate_for(images)
        pictures, severities = to_pictures(fakes.cpu()), probabilities.tolist()
        if self.extractor is None:
            pairs = zip(pictures, severities, strict=True)
            return [Generated(picture, severity, fit=self.settings.fit) for picture, severity in pairs]
        real, _ = self.feature_cache.extract(images)
        measured = zip(pictures, severities, real, *extract(self.extractor, fakes), strict=True)
        name, fit = self.extractor.name, self.settings.fit
        return [
            Generated(picture, severity, name, true, fake, classes, fit)
            for picture, severity, true, fake, classes in measured
        ]

    def generate_for(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """B×C×S×S uint8 → as many generated images, uint8, and the probability B that each is fake."""
        pairs = zip(*map(self.noise_and_label, images), strict=True)
        noise, labels = (torch.cat(parts).to(images.device) for parts in pairs)
        fakes = self.network.generate(noise, labels).float()
        return self.to_pixels(fakes), self.fake_probability(fakes, labels)

    def to_pixels(self, images: Tensor) -> Tensor:
        """−1..1 → uint8."""
        return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def snapshot(self) -> NDArray[np.uint8]:
        """A sheet of images generated from the same noise after every epoch, to compare epochs by eye."""
        return files.grid([*to_pictures(generate_snapshot(self))], COLUMNS, side=self.settings.size, gap=1)

    def noise_and_label(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Noise 1×latent×1×1 and one-hot class 1×K, seeded by the digest of the image's bytes."""
        seed = hashlib.blake2b(image.cpu().contiguous().numpy().tobytes(), digest_size=8).digest()
        source = torch.Generator().manual_seed(int.from_bytes(seed, "big"))
        noise = self.network.sample_noise(1, "cpu", source)
        frequencies = torch.tensor(self.settings.class_counts, dtype=torch.float32)
        if not frequencies.any():
            return noise, frequencies[None]
        label = torch.multinomial(frequencies, 1, generator=source)
        return noise, F.one_hot(label, len(frequencies)).float()

    def fake_probability(self, fakes: Tensor, labels: Tensor) -> Tensor:
        """The model's own probability B that each image −1..1 of a class is fake; 0 without a discriminator."""
        return torch.zeros(len(fakes))


def generate_snapshot(sampler: Any) -> Tensor:
    """SNAPSHOT_IMAGES×C×S×S uint8 from fixed noise; a class-conditional network gets the classes in turn."""
    source, classes = torch.Generator().manual_seed(0), len(sampler.settings.classes)
    noise = sampler.network.sample_noise(SNAPSHOT_IMAGES, "cpu", source)
    indices = torch.arange(SNAPSHOT_IMAGES) % classes if classes else None
    labels = torch.zeros(SNAPSHOT_IMAGES, 0) if indices is None else F.one_hot(indices, classes).float()
    device = sampler.mean.device
    return sampler.to_pixels(sampler.network.generate(noise.to(device), labels.to(device)).float()).cpu()


def to_pictures(images: Tensor) -> Pictures:
    """B×C×S×S → B×S×S×3."""
    return images.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).contiguous().numpy()


class GeneratorAndDiscriminator(nn.Module):
    """Both networks of a GAN; images are −1..1.

    latent: numbers of noise per image · classes: how many both are conditioned on, 0 for none · uniform: noise is
    uniform in −1..1, else standard normal.
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, *, latent: int, classes: int = 0, uniform: bool = False
    ) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.latent, self.classes, self.uniform = latent, classes, uniform

    def sample_noise(self, count: int, device: torch.device | str, source: torch.Generator | None = None) -> Tensor:
        """B×latent×1×1, normal or uniform in −1..1, from `source` or torch's global stream."""
        shape = (count, self.latent, 1, 1)
        if self.uniform:
            return torch.rand(shape, device=device, generator=source) * 2 - 1
        return torch.randn(shape, device=device, generator=source)

    def interpolate(self, start: Tensor, end: Tensor, steps: int) -> Tensor:
        """steps×latent×1×1 from noise `start` to noise `end`, each 1×latent×1×1.

        Uniform noise is interpolated linearly. Normal noise is interpolated along an arc, because a linear mean of two
        vectors is shorter than either.
        """
        fraction = torch.linspace(0, 1, steps).view(-1, 1, 1, 1)
        if self.uniform:
            return start + fraction * (end - start)
        return torch.cos(fraction * torch.pi / 2) * start + torch.sin(fraction * torch.pi / 2) * end

    def generate(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Images B×C×S×S from noise B×latent×1×1 and class probabilities B×K, which unconditional networks ignore."""
        images: Tensor = self.generator(torch.cat([noise, labels[:, : self.classes, None, None]], dim=1))
        return images

    def discriminate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Discriminator logits B, positive for real; each class is a constant channel beside those of the image."""
        channels = labels[:, : self.classes, None, None].expand(-1, -1, *images.shape[2:])
        logits: Tensor = self.discriminator(torch.cat([images, channels], dim=1))
        return logits

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images B×C×S×S → as many new ones from fresh noise, and the logits B of the given ones, without a class."""
        labels = images.new_zeros(len(images), self.classes)
        noise = self.sample_noise(len(images), images.device)
        return self.generate(noise, labels), self.discriminate(images, labels)


class Adversarial(Sampler):
    """Trains both networks in turn: the discriminator separates real from fake, the generator fools it."""

    network: GeneratorAndDiscriminator

    def __init__(self, network: nn.Module, settings: Settings, objective: str, every: int) -> None:
        super().__init__(network, settings)
        if objective not in OBJECTIVES:
            raise UserError(f"loss.objective: {plugins.unknown('objective', objective, OBJECTIVES)}")
        if every < 1:
            raise UserError(f"loss.every: {every}; it must be at least 1.")
        batch_norm = any(isinstance(layer, nn.BatchNorm2d) for layer in self.network.discriminator.modules())
        if objective == "wgan_gp" and batch_norm:
            raise UserError(
                "loss.objective: wgan_gp penalises the discriminator's gradient per image, and batch normalization "
                "mixes images. Set options.norm: layer."
            )
        self.discriminator_loss, self.generator_loss = OBJECTIVES[objective]
        self.has_penalty = objective == "wgan_gp"
        self.every = every

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The discriminator's step, then the generator's."""
        return (
            Phase("discriminator", tuple(self.network.discriminator.parameters())),
            Phase("generator", tuple(self.network.generator.parameters()), self.every),
        )

    def losses(self, outputs: Tensor, targets: Tensor, phase: str) -> dict[str, Tensor]:
        """Mean loss of the phase's network on real images −1..1 of classes B×K and as many fresh fakes of these.

        In nats, or in units of the logit (hinge, wgan_gp). Real and fake images pass the discriminator in separate
        batches, so that batch normalization sees one kind at a time.
        """
        noise = self.network.sample_noise(len(outputs), outputs.device)
        if phase == "generator":
            with _frozen(self.network.discriminator):
                logits = self.network.discriminate(self.network.generate(noise, targets), targets)
            return {phase: self.generator_loss(logits.float()).mean()}
        with torch.no_grad():
            fakes = self.network.generate(noise, targets)
        real, fake = (self.network.discriminate(images, targets).float() for images in (outputs, fakes))
        losses = {phase: self.discriminator_loss(real, fake)}
        if self.has_penalty:
            losses["penalty"] = PENALTY_WEIGHT * self.gradient_penalty(outputs, fakes, targets)
        return losses

    def gradient_penalty(self, real: Tensor, fakes: Tensor, labels: Tensor) -> Tensor:
        """Mean (|∂logit/∂image| − 1)² at a random interpolation between each real image and a fake one."""
        fraction = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (fraction * real + (1 - fraction) * fakes).requires_grad_()
        logits = self.network.discriminate(between, labels).float().sum()
        (gradients,) = torch.autograd.grad(logits, between, create_graph=True)
        return (gradients.flatten(1).norm(dim=1) - 1).square().mean()

    def fake_probability(self, fakes: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's probability B that each image is fake; with wgan_gp only the order has a meaning."""
        return torch.sigmoid(-self.network.discriminate(fakes, labels).float())


@contextlib.contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Gradients flow through the module, but its parameters collect none."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
