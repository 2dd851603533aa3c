"""The specification that an architecture's `build` receives, and the function that calls it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import plugins

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Spec:
    """Task, number of classes, image channels (1 or 3), image side in pixels, and keypoints per object."""

    task: str
    classes: int
    channels: int
    size: int
    keypoints: int = 0


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Names of the submodules that output each level's feature map, fine to coarse, and of the last layer, if any."""

    levels: tuple[str, ...] = ()
    head: str | None = None


def build_network(architecture: str, spec: Spec, options: dict[str, Any]) -> "nn.Module":
    """A freshly initialised network: images B×C×H×W float → logits, feature maps or samples.

    Its anatomy is the file's LEVELS and HEAD, unless `build` has already set it.
    """
    network: nn.Module = plugins.load("models", architecture).build(spec, **options)
    levels, head = (plugins.constant("models", architecture, name) for name in ("LEVELS", "HEAD"))
    network.__dict__.setdefault("anatomy", Anatomy(tuple(levels or ()), head))
    return network


def anatomy(network: "nn.Module") -> Anatomy:
    """The anatomy of a network from `build_network`; an empty one for any other network."""
    stored: Anatomy = network.__dict__.get("anatomy", Anatomy())
    return stored
