"""What a person wants of first jobs, and what these can start from: a preset, and a network with published weights."""

from dataclasses import dataclass
from typing import Any, Literal

Preset = Literal["fast", "good", "best"]


@dataclass(frozen=True)
class Published:
    """A classifier with published weights: its architecture and options, the setting `pretrained`, its side in pixels.

    origin: in words, for the reason that is written above a job.
    """

    architecture: str
    options: dict[str, Any]
    pretrained: dict[str, str]
    size: int
    origin: str


@dataclass(frozen=True)
class Wishes:
    """The preset, and the network with published weights, if there is one."""

    preset: Preset = "fast"
    published: Published | None = None
