"""What the checks of `convline doctor` yield."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What is wrong, and what to do about it."""

    what: str
    remedy: str


#: findings, and notes as plain text
Detections = Iterator[Finding | str]
