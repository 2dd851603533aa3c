"""What an architecture is asked to be, and the one place that builds it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import plugins

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Spec:
    """The task, the number of classes, the image's channels (1 or 3), its side in pixels, and the points of a thing."""

    task: str
    classes: int
    channels: int
    size: int
    points: int = 0


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The submodules whose outputs are maps, fine to coarse, and the last layer; nothing where there are none."""

    stages: tuple[str, ...] = ()
    head: str | None = None


def build_network(architecture: str, spec: Spec, options: dict[str, Any]) -> "nn.Module":
    """A freshly initialised network: images B×C×H×W float → logits, maps or samples.

    Its anatomy is what its file says by STAGES and HEAD, unless `build` itself has found it.
    """
    network: nn.Module = plugins.load("models", architecture).build(spec, **options)
    stages, head = (plugins.constant("models", architecture, name) for name in ("STAGES", "HEAD"))
    network.__dict__.setdefault("anatomy", Anatomy(tuple(stages or ()), head))
    return network


def anatomy(network: "nn.Module") -> Anatomy:
    """The anatomy of a network that `build` made; of any other an empty one."""
    found: Anatomy = network.__dict__.get("anatomy", Anatomy())
    return found
