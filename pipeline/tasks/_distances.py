"""How far two sets of images are apart, as distances between their features.

Fréchet: Heusel et al.: GANs Trained by a Two Time-Scale Update Rule, NIPS 2017, https://arxiv.org/abs/1706.08500.
Kernel: Bińkowski et al.: Demystifying MMD GANs, ICLR 2018, https://arxiv.org/abs/1801.01401.
Each function gives a distance as a function of how often every row counts, so that a bootstrap costs
milliseconds a resample. Features are N×D float64.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics import Counts

Features = NDArray[np.float64]
Distance = Callable[[Counts], float]
#: rows whose kernels are held at once; the kernel distance is the mean over blocks of so many
BLOCK = 1000


def frechet(real: Features, fake: Features) -> Distance:
    """|μ−ν|² + tr A + tr B − 2 tr √(AB), the distance between Gaussians of the sets' means and covariances (ddof 1).

    With A = XᵀX and B = YᵀY, tr √(AB) is the sum of the singular values of XYᵀ, so no root of a matrix that is
    not symmetric is taken, and fewer rows than features are no problem.
    """

    def distance(counts: Counts) -> float:
        if counts.sum() < 2:
            return float("nan")
        drawn = counts > 0
        (mean, spread), (other_mean, other) = (_gaussian(rows[drawn], counts[drawn]) for rows in (real, fake))
        apart = ((mean - other_mean) ** 2).sum()
        return float(max(0.0, apart + (spread**2).sum() + (other**2).sum() - 2 * _shared(spread, other)))

    return distance


def _gaussian(rows: Features, counts: Counts) -> tuple[Features, Features]:
    """The mean, and X such that XᵀX is the covariance."""
    total = counts.sum()
    mean = counts @ rows / total
    return mean, (rows - mean) * np.sqrt(counts / (total - 1))[:, None]


def _shared(spread: Features, other: Features) -> float:
    """tr √(AB) for A = XᵀX and B = YᵀY: by the rows if they are fewer than the features, else by √A·B·√A."""
    if len(spread) <= spread.shape[1]:
        return float(np.linalg.svd(spread @ other.T, compute_uv=False).sum())
    values, vectors = np.linalg.eigh(spread.T @ spread)
    root = np.sqrt(values.clip(min=0))[:, None] * vectors.T
    squares = np.linalg.eigvalsh(root @ (other.T @ other) @ root.T)
    return float(np.sqrt(squares.clip(min=0)).sum())


def diversity(real: Features, fake: Features) -> Distance:
    """How far fake rows are from one another, in units of that of real rows: the root of the mean squared distances.

    The mean squared distance between two rows is twice the trace of the covariance. 0: all alike.
    """

    def ratio(counts: Counts) -> float:
        if counts.sum() < 2:
            return float("nan")
        total, other = (float((_gaussian(rows, counts)[1] ** 2).sum()) for rows in (real, fake))
        return float(np.sqrt(other / total)) if total > 0 else float("nan")

    return ratio


def kernel(real: Features, fake: Features) -> Distance:
    """The squared maximum mean discrepancy by the kernel (x·y/D + 1)³, unbiased, so it may fall below 0."""
    starts = range(0, len(real), BLOCK)
    parts = [_Block(real[start : start + BLOCK], fake[start : start + BLOCK]) for start in starts]

    def distance(counts: Counts) -> float:
        found = [part.distance(counts[start : start + BLOCK]) for start, part in zip(starts, parts, strict=True)]
        return float(np.mean(found))

    return distance


class _Block:
    """The kernels between up to BLOCK real and as many fake rows."""

    def __init__(self, real: Features, fake: Features) -> None:
        self.within = _kernels(real, real) + _kernels(fake, fake)
        self.between = _kernels(real, fake)
        self.own = np.diag(self.within).copy()

    def distance(self, counts: Counts) -> float:
        """A row that counts twice is two rows; a row meets itself only then."""
        total = int(counts.sum())
        if total < 2:
            return float("nan")
        weights = counts.astype(np.float64)
        within = weights @ self.within @ weights - weights @ self.own
        return float(within / (total * (total - 1)) - 2 * (weights @ self.between @ weights) / total**2)


def _kernels(rows: Features, others: Features) -> Features:
    return (rows @ others.T / rows.shape[1] + 1) ** 3
