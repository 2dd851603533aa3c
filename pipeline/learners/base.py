"""What the train loop trains: a network with its loss, behind one small interface.

The loop calls `learner(images, targets, phase)` for named losses, whose sum it minimises, and `learner(images)` for
predictions, one per image. Most tasks only add a loss to this class; detectors and GANs have their own subclasses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import plugins
from pipeline.errors import UserError


@dataclass(frozen=True)
class Phase:
    """Parameters that one optimizer step updates, every `every`-th batch. A classifier has one phase, a GAN two."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    every: int = 1


@dataclass(frozen=True)
class Settings:
    """What a learner needs besides its network: the classes, and how images are scaled.

    class_counts: train samples by class · size: side of the network's input in pixels · mean, std: by channel, of
    pixels in 0..1 · keypoints: names of an object's · max_side: larger images are first scaled to this longer
    side, as the stored ones were, if it is given, and then to `size` · fit: how images of other aspects become the
    square input · bits, first_page: how files are read that could be read in several ways, as those of the dataset.
    """

    classes: tuple[str, ...]
    semantic_classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    keypoints: tuple[str, ...] = ()
    max_side: int | None = None
    fit: str = "stretch"
    bits: int | Literal["range"] | None = None
    first_page: bool = False


class Learner(nn.Module):
    """A network with its loss; takes uint8 images B×C×H×W and normalizes them itself."""

    mean: Tensor
    std: Tensor
    #: derived fields that the network reads besides the image: name → options by which they are computed
    derived: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    #: another job's model, whose features measure this one (FID); not part of its weights
    extractor: "Learner | None" = None
    #: whether its layers see equal shapes at every step, so that it pays to search the fastest kernels for them
    fixed_shapes: bool = True
    #: `architecture@digest of the weights` of a loaded model, else empty
    name: str = ""

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.register_buffer("mean", torch.tensor(settings.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(settings.std).view(1, -1, 1, 1), persistent=False)

    def use_extractor(self, extractor: "Learner", cache_folder: Path | None = None) -> None:
        """Set the extractor without registering it as a submodule: it is not trained, stored or moved.

        cache_folder: where this extractor's features of real images are kept, as they are costly and never change.
        """
        object.__setattr__(self, "extractor", extractor.eval())

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase with all trainable parameters; none if there are no such parameters."""
        trainable = tuple(parameter for parameter in self.parameters() if parameter.requires_grad)
        return (Phase("train", trainable),) if trainable else ()

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 0..255 → float of mean 0 and variance 1 over the train set."""
        return (images.float() / 255 - self.mean) / self.std

    def forward(self, images: Tensor, targets: Any = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: predictions, one per image."""
        outputs = self.network(self.normalize(images))
        return self.predict(outputs) if targets is None else self.losses(outputs, targets, phase)

    def predict_batch(self, images: Tensor, targets: Any) -> Any:
        """Predictions for a batch from `collate`; most learners ignore the targets, some read proposals from them."""
        return self(images)

    def losses(self, outputs: Any, targets: Any, phase: str) -> dict[str, Tensor]:
        """Mean losses of a batch, by name."""
        raise NotImplementedError

    def predict(self, outputs: Any) -> Any:
        """Predictions, one per image, from the network's outputs."""
        raise NotImplementedError

    def snapshot(self) -> NDArray[np.uint8] | None:
        """A picture H×W×3 after an epoch, made from the same inputs each time; most learners have none.

        It must not use torch's global random stream, so that training is the same with and without it.
        """
        return None

    def fit(self, batches: Iterable[Any]) -> None:
        """Fit what is not trained by gradients, once after training, at the best weights; most learners do nothing.

        Results are stored in buffers. batches: the train set's, from `collate`, on the learner's device.
        """


def class_weights_tensor(classes: Sequence[str], weights: Mapping[str, float]) -> Tensor:
    """Weights K of the classes in a loss, from weights by name; classes without one get 1."""
    if not isinstance(weights, Mapping):
        raise UserError(
            f"loss.class_weights: {weights!r} is not a mapping from class to weight. Example: {{{classes[0]}: 0.5}}."
        )
    for name in weights:
        if name not in classes:
            raise UserError(f"loss.class_weights: {plugins.unknown('class', name, classes)}")
    return torch.tensor([float(weights.get(name, 1)) for name in classes])
