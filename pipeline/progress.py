"""A line on a terminal that says how far long work has come; where no person watches, there is none."""

import os
import sys
import time
from types import TracebackType

from pipeline import logs, terminal

#: seconds between two lines
EVERY_S = 1.0


class Progress:
    """`mine: 12,000 of 100,000 images, 350 images/s, 4 min left`, rewritten each second while the block runs.

    Args:
        what: what the work is for, at the beginning of the line.
        total: number of items, if it is known; `left` is told only then.
        unit: what an item is, in the plural.
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "images") -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, 0
        self._started = self._written = time.monotonic()
        self._shown = is_watched()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            terminal.ProgressLine.write("")

    def advance(self, count: int = 1) -> None:
        """Count finished items."""
        self.done += count
        now = time.monotonic()
        if self._shown and now - self._written >= EVERY_S:
            self._written = now
            terminal.ProgressLine.write(self.line(now - self._started))

    def line(self, seconds: float) -> str:
        """The line after these seconds of work."""
        rate = self.done / seconds
        speed = per_second(rate, self.unit)
        if self.total is None:
            return f"{self.what}: {self.done:,} {self.unit}, {speed}"
        left = max(0, self.total - self.done) / rate if rate else float("inf")
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {speed}, {duration(left)} left"


def per_second(rate: float, unit: str = "images") -> str:
    """`350 images/s`, or `7.4 images/s` where it is slow."""
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.1f} {unit}/s"


def is_watched() -> bool:
    """Whether standard error is a terminal, and messages are wanted."""
    return sys.stderr.isatty() and not os.environ.get(logs.QUIET)


def duration(seconds: float) -> str:
    """`50 s`, `4 min`, `2.5 h`, or `?` where there is no end in sight."""
    if seconds == float("inf"):
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
