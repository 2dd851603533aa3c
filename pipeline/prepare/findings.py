"""Faults of a dataset: all are collected in one pass, then reported together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pipeline.errors import UserError
from pipeline.sample import Fault
from pipeline.terminal import escape

#: lines that are printed
LISTED = 100


@dataclass(slots=True)
class Findings:
    """faults can be skipped (`on_bad: skip`), blockers can't; warnings stop nothing. `folder`: the dataset's path."""

    folder: str | None
    faults: list[Fault] = field(default_factory=list)
    blockers: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def from_root(self, where: str) -> str:
        """A path that a format gives, relative to the project's root."""
        return str(PurePosixPath(self.folder, where)) if self.folder else where

    def add(self, new: Iterable[Fault]) -> None:
        """Add faults and warnings."""
        for fault in new:
            kind = self.warnings if fault.warning else self.blockers if fault.blocks else self.faults
            kind.append(fault)

    def raise_if_bad(self, on_bad: str) -> None:
        """Raise one UserError with every fault that stops the dataset."""
        stopping = self.blockers + self.faults  # skipped images may be why a split is empty
        if not (self.blockers or (stopping and on_bad == "error")):
            return
        lines = [f"{len(stopping)} fault{'s' if len(stopping) > 1 else ''}"]
        lines += [f"  {line}" for line in grouped(stopping)]
        remedy = "Correct them and run again"
        if on_bad == "error" and self.faults and not self.blockers:
            remedy += "; or set the dataset's `on_bad: skip` in params.yaml, which skips faulty images and lists them"
        raise UserError("\n".join([*lines, f"{remedy}."]))


def grouped(notes: Iterable[Fault | str], most: int = LISTED) -> list[str]:
    """At most `most` lines; notes with the same reason take one, which names the first and their number.

    A note is a fault, or one as it is stored: `where: reason`.
    """
    by_reason: dict[str, list[str]] = {}
    for note in notes:
        where, _, reason = note.partition(": ") if isinstance(note, str) else (note.where, "", note.reason)
        by_reason.setdefault(reason, []).append(where)
    lines = [
        escape(f"{first}: {reason}" if reason else first)
        + (f" (and {len(others):,} more like it, up to {escape(others[-1])})" if others else "")
        for reason, (first, *others) in by_reason.items()
    ]
    return lines if len(lines) <= most else [*lines[:most], f"… and {len(lines) - most:,} other reasons"]
