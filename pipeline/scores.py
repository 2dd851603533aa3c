"""Scores at rest and in words: a score is a finite number, or it is undefined for a reason.

A task's scorer gives nan where a split lacks what the score needs. Files then hold null and, in `undefined`, the
reason; such a score is printed as undefined, is not logged as a number, and neither wins nor loses a comparison.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pipeline import plugins

#: the smallest and the largest possible value of a metric; None where there is none
Bounds = tuple[float | None, float | None]
UNBOUNDED: Bounds = (None, None)
#: the entry of a file of scores that holds the reasons, by score
UNDEFINED = "undefined"
Entry = TypeVar("Entry")


def finite_or_none(value: Any) -> float | None:
    """The value as a float if it is a finite number, else None."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def rounded(value: float) -> float | None:
    """A score as files hold it; null if it is undefined."""
    return round(value, 6) if math.isfinite(value) else None


def bounds(task: str, metric: str) -> Bounds:
    """The bounds of one of a task's metrics, or of a count."""
    low, high = _entry(plugins.constant("tasks", task, "BOUNDS"), metric, UNBOUNDED)
    return low, high


def reason(task: str, metric: str, split: str) -> str:
    """Why a metric is undefined on a split: `no box in test`."""
    missing = _entry(plugins.constant("tasks", task, "UNDEFINED"), metric, "")
    return f"{missing} in {split}" if missing else f"{split} lacks what it is computed from"


def _entry(entries: Mapping[str, Entry] | None, metric: str, default: Entry) -> Entry:
    """A metric's entry: of `box_AP[cat] under fog` that of `box_AP`, else of `box_`, else of "", which is of all."""
    name, entries = metric.partition(" under ")[0].partition("[")[0], entries or {}
    keys = (name, name.partition("_")[0] + "_", "")
    return next((entries[key] for key in keys if key in entries), default)


def words(scores: Mapping[str, Any], *, before: str = "test ", after: str = "") -> str:
    """`test top1 0.9883 [0.9738, 0.9971]`, with what stands before and after; `box_mAP undefined: no box in test`."""
    primary = scores["primary"]
    value, low, high = (scores.get(primary + end) for end in ("", "_low", "_high"))
    if value is None:
        return undefined(scores, primary)
    interval = "" if low is None or high is None else f" [{low:.4f}, {high:.4f}]"
    return f"{before}{primary} {value:.4f}{interval}{after}"


def undefined(scores: Mapping[str, Any], metric: str) -> str:
    """`box_mAP undefined: no box in test`, of a score that is null."""
    why = scores.get(UNDEFINED, {}).get(metric)
    return f"{metric.removeprefix('val_')} undefined" + (f": {why}" if why else "")
