"""The candidate that is best on val, among the measured jobs of one registered model."""

from collections.abc import Mapping
from typing import Any

from pipeline import scores


def best_on_val(metrics: Mapping[str, dict[str, Any]]) -> str | None:
    """The job with the best primary score on val, of equals the first; None if no job has a score there."""
    ranked = {}
    for name, measured in metrics.items():
        value = measured[f"val_{measured['primary']}"]
        if value is not None:
            ranked[name] = value if measured["higher_is_better"] else -value
    return max(ranked, key=ranked.__getitem__) if ranked else None


def unranked(metrics: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The decision where no job has a score on val: `no candidate is ranked: box_mAP undefined: no box in val`."""
    measured = next(iter(metrics.values()))
    why = scores.undefined(measured, f"val_{measured['primary']}")
    return {"promoted": False, "text": f"no candidate is ranked: {why}"}
