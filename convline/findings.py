"""What the checks of `convline doctor` yield."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A problem and its remedy."""

    what: str
    remedy: str


#: findings, and notes as plain text
Findings = Iterator[Finding | str]
