"""Intervals and paired comparison by bootstrap over rows.

A resample is a vector of counts, one a row, so that a score is computed from sums and nothing is copied.
Rows of one group (a person, a video) are drawn together. Efron and Tibshirani, An Introduction to the
Bootstrap (1993), chapters 13 and 8.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Scorer = Callable[[Counts], dict[str, float]]


def primary(name: str, scores: Mapping[str, float]) -> str:
    """The primary score's full name: `FID` may be found as `FID[lenet5]`."""
    return next(key for key in scores if key == name or key.startswith(f"{name}["))


def resamples(groups: Sequence[str], number: int, seed: int) -> Iterator[Counts]:
    """`number` count vectors over the rows, drawn group by group with replacement."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    size = int(member.max()) + 1
    generator = np.random.default_rng(seed)
    for _ in range(number):
        drawn = np.bincount(generator.integers(size, size=size), minlength=size)
        yield drawn[member].astype(np.int64)


def intervals(scorer: Scorer, groups: Sequence[str], *, number: int, seed: int) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of every score; a score undefined in a resample is left out of its own."""
    draws = [scorer(counts) for counts in resamples(groups, number, seed)]
    bounds = {}
    for name in draws[0]:
        values = np.array([draw[name] for draw in draws], dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            low, high = np.percentile(values, [2.5, 97.5])
            bounds[name] = (float(low), float(high))
    return bounds


def paired(
    challenger: Scorer, champion: Scorer, groups: Sequence[str], metric: str, *, number: int, seed: int
) -> dict[str, float]:
    """Difference challenger − champion on the same rows: `difference`, `low` and `high` (95 %)."""
    ones = np.ones(len(groups), dtype=np.int64)
    metric = primary(metric, challenger(ones))
    differences = [challenger(counts)[metric] - champion(counts)[metric] for counts in resamples(groups, number, seed)]
    low, high = np.nanpercentile(differences, [2.5, 97.5])
    return {
        "difference": challenger(ones)[metric] - champion(ones)[metric],
        "low": float(low),
        "high": float(high),
    }
