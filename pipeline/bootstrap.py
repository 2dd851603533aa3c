"""Intervals and paired comparison by bootstrap over rows.

A resample is a vector of counts, one per row, so that scores are computed from weighted sums and no row is copied.
Rows of one group (a person, a video) are resampled together. Efron and Tibshirani, An Introduction to the
Bootstrap (1993), chapters 13 and 8.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Resampled = NDArray[np.float64]
Scorer = Callable[[Counts], dict[str, float]]


def primary(name: str, scores: Mapping[str, float]) -> str:
    """The primary score's full name: `FID` may be stored as `FID[lenet5]`."""
    return next(key for key in scores if key == name or key.startswith(f"{name}["))


def resample(groups: Sequence[str], number: int, seed: int) -> Iterator[Counts]:
    """`number` count vectors over the rows; groups are sampled with replacement."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    size = int(member.max()) + 1
    generator = np.random.default_rng(seed)
    for _ in range(number):
        group_counts = np.bincount(generator.integers(size, size=size), minlength=size)
        yield group_counts[member].astype(np.int64)


def resample_scores(scorer: Scorer, groups: Sequence[str], *, number: int, seed: int) -> dict[str, Resampled]:
    """Every score in each of `number` resamples; with equal seed and groups, those of two models are paired."""
    all_scores = [scorer(counts) for counts in resample(groups, number, seed)]
    return {name: np.array([scores[name] for scores in all_scores], dtype=np.float64) for name in all_scores[0]}


def intervals(resampled: Mapping[str, Resampled]) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of every score; resamples in which a score is undefined are left out."""
    bounds = {}
    for name, values in resampled.items():
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
    differences = [challenger(counts)[metric] - champion(counts)[metric] for counts in resample(groups, number, seed)]
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


def over_seeds(
    values: Resampled, resampled: Resampled, bounds: tuple[float | None, float | None] = (None, None), *, seed: int = 0
) -> Estimate:
    """Mean over S seeds of scores, or of differences of scores, from S values and their S×N resamples of test images.

    Two sources of uncertainty are combined: test-set sampling (bootstrap) and training seed (Student t, S−1 d.f.,
    scaled by the standard error over the seeds). The interval is that of the sum of random samples of both. Student's t
    knows no bounds, so the interval is cut at those of the score.
    """
    number, trainings = len(values), 200
    noise = np.random.default_rng(seed).standard_t(number - 1, (resampled.shape[1], trainings))
    error = values.std(ddof=1) / np.sqrt(number)
    sums = resampled.mean(axis=0)[:, None] + error * noise
    low, high = np.clip(np.nanpercentile(sums, [2.5, 97.5]), *bounds)
    return Estimate(float(values.mean()), float(low), float(high))
