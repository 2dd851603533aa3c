"""What the train loop trains: a network with its loss, seen through one small interface.

The loop calls `learner(images, targets, phase)` for named losses whose sum is minimised, and
`learner(images)` for predictions, one an image. Most tasks only add a loss to this class; detectors and
GANs bring their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import plugins
from pipeline.errors import UserError


@dataclass(frozen=True)
class Phase:
    """Parameters that are stepped together, every `every`-th batch. A classifier has one phase, a GAN two."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    every: int = 1


@dataclass(frozen=True)
class Settings:
    """What a learner knows besides its network: the classes, and how images become numbers.

    class_counts: train samples by class · mean, std: by channel, of pixels in 0..1 ·
    points: names of the points of a thing · max_side: larger images are scaled to it before they are to `size`, as the
    stored ones were.
    """

    classes: tuple[str, ...]
    semantic_classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    points: tuple[str, ...] = ()
    max_side: int = 1024


class Learner(nn.Module):
    """A network that takes uint8 images B×C×H×W and normalises them itself."""

    mean: Tensor
    std: Tensor
    #: derived fields that the network looks at beside the image, by name, and with which options these are made
    derived: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    #: another job's model that this one is measured by (FID); no part of its weights
    extractor: "Learner | None" = None
    #: `architecture@digest of the weights` of a model that was loaded; empty before
    name: str = ""

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.register_buffer("mean", torch.tensor(settings.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(settings.std).view(1, -1, 1, 1), persistent=False)

    def use(self, extractor: "Learner", kept: Path | None = None) -> None:
        """Take the extractor, past nn.Module's registration: it is neither trained, nor stored, nor moved.

        kept: a folder of this extractor's own for what it makes of real images, which costs most and never changes.
        """
        object.__setattr__(self, "extractor", extractor.eval())

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All trainable parameters at once; no phase where there is none."""
        learned = tuple(parameter for parameter in self.parameters() if parameter.requires_grad)
        return (Phase("train", learned),) if learned else ()

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 0..255 → float of mean 0 and variance 1 over the train set."""
        return (images.float() / 255 - self.mean) / self.std

    def forward(self, images: Tensor, targets: Any = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: predictions, one an image."""
        outputs = self.network(self.normalize(images))
        return self.predict(outputs) if targets is None else self.losses(outputs, targets, phase)

    def ask(self, images: Tensor, targets: Any) -> Any:
        """Predictions for a batch as `collate` makes it; most learners look at nothing but the images."""
        return self(images)

    def losses(self, outputs: Any, targets: Any, phase: str) -> dict[str, Tensor]:
        """Mean losses of a batch, by name."""
        raise NotImplementedError

    def predict(self, outputs: Any) -> Any:
        """Predictions, one an image, from the network's outputs."""
        raise NotImplementedError

    def snapshot(self) -> NDArray[np.uint8] | None:
        """What to look at after an epoch, H×W×3, the same question each time; most learners have nothing.

        It draws no number from torch's global stream, so that looking changes nothing.
        """
        return None

    def fit(self, batches: Iterable[Any]) -> None:
        """Fit into buffers what is not trained by gradient, once, with the best weights; most learners have nothing.

        batches: the train set's, as `collate` makes them, on the learner's device.
        """


def weights_of(classes: Sequence[str], given: Mapping[str, float]) -> Tensor:
    """What each class counts in a loss, by its name; 1 where not given."""
    if not isinstance(given, Mapping):
        raise UserError(
            f"loss.class_weights: {given!r} are no weights by class. Give some, as in {{{classes[0]}: 0.5}}."
        )
    for name in given:
        if name not in classes:
            raise UserError(f"loss.class_weights: {plugins.unknown('class', name, classes)}")
    return torch.tensor([float(given.get(name, 1)) for name in classes])
