"""What an architecture is asked to be, and the one place that builds it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import plugins

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Spec:
    """The task, the number of classes, the image's channels (1 or 3) and its side in pixels."""

    task: str
    classes: int
    channels: int
    size: int


def build(architecture: str, spec: Spec, options: dict[str, Any]) -> "nn.Module":
    """A freshly initialised network: images B×C×H×W float → logits, maps or samples."""
    network: nn.Module = plugins.load("models", architecture).build(spec, **options)
    return network
