"""A folder that a format could read, though something in it speaks against that: `convline add` asks."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Doubt:
    """reason: what speaks against the format, as a sentence for people · options: with which it could be read.

    options is None if the format can't read the folder at all.
    """

    reason: str
    options: dict[str, Any] | None = field(default_factory=dict)
