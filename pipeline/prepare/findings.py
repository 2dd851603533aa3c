"""What prepare found wrong: everything is collected in one pass, then told at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pipeline.errors import UserError
from pipeline.sample import Fault

LISTED = 100


@dataclass(slots=True)
class Findings:
    """faults can be left out (`on_bad: skip`), blockers can't; warnings change nothing. Places lie below `folder`."""

    folder: str | None
    faults: list[Fault] = field(default_factory=list)
    blockers: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def place(self, where: str) -> str:
        """A format's place as seen from the project's root."""
        return str(PurePosixPath(self.folder, where)) if self.folder else where

    def add(self, found: Iterable[Fault]) -> None:
        """File each finding where it belongs."""
        for fault in found:
            (self.warnings if fault.warning else self.faults).append(fault)

    def raise_if_bad(self, on_bad: str) -> None:
        """One UserError with every fault that stops the dataset."""
        stopping = self.blockers + self.faults  # what was left out may be why a split is empty
        if not (self.blockers or (stopping and on_bad == "error")):
            return
        lines = [f"{len(stopping)} fault{'s' if len(stopping) > 1 else ''}"]
        lines += [f"  {fault}" for fault in stopping[:LISTED]]
        if len(stopping) > LISTED:
            lines.append(f"  … and {len(stopping) - LISTED} more")
        way = "Mend them and run again"
        if on_bad == "error" and self.faults and not self.blockers:
            way += "; or set the dataset's `on_bad: skip` in params.yaml, which leaves the faulty out and lists them"
        raise UserError("\n".join([*lines, f"{way}."]))
