"""Intervals and paired comparison by bootstrap over rows.

A resample is a vector of counts, one a row, so that a score is computed from sums and nothing is copied.
Rows of one group (a person, a video) are drawn together. Efron and Tibshirani, An Introduction to the
Bootstrap (1993), chapters 13 and 8.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Draws = NDArray[np.float64]
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


def draws(scorer: Scorer, groups: Sequence[str], *, number: int, seed: int) -> dict[str, Draws]:
    """Every score in each of `number` resamples; of one seed and the same groups, two models' are paired."""
    found = [scorer(counts) for counts in resamples(groups, number, seed)]
    return {name: np.array([scores[name] for scores in found], dtype=np.float64) for name in found[0]}


def intervals(drawn: Mapping[str, Draws]) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of every score; a score undefined in a resample is left out of its own."""
    bounds = {}
    for name, values in drawn.items():
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


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval."""

    value: float
    low: float
    high: float


def over_seeds(values: Draws, drawn: Draws, *, seed: int = 0) -> Estimate:
    """Mean of S trainings' scores, or of differences of two such, as S values and S×N resamples of the test images.

    Two things might have come out otherwise. Other test images: the resamples of the mean. Another training:
    Student's t with S−1 degrees of freedom, scaled by the standard error over the seeds (few seeds, wide tails).
    The interval is of the sum of both, drawn at random; where one is nothing, it is the other's own interval.
    """
    number, trainings = len(values), 200
    noise = np.random.default_rng(seed).standard_t(number - 1, (drawn.shape[1], trainings))
    error = values.std(ddof=1) / np.sqrt(number)
    sums = drawn.mean(axis=0)[:, None] + error * noise
    low, high = np.nanpercentile(sums, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))
