"""Distances between two sets of images, and precision and recall of one by the other, from their features.

Fréchet: Heusel et al.: GANs Trained by a Two Time-Scale Update Rule, NIPS 2017, https://arxiv.org/abs/1706.08500.
Kernel: Bińkowski et al.: Demystifying MMD GANs, ICLR 2018, https://arxiv.org/abs/1801.01401.
Precision and recall: Kynkäänniemi et al.: Improved Precision and Recall Metric for Assessing Generative Models,
NeurIPS 2019, https://arxiv.org/abs/1904.06991.
Each function returns a function from row counts to the score, so that a bootstrap resample costs milliseconds. Features
are N×D float64.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.bootstrap import Counts

Features = NDArray[np.float64]
Distance = Callable[[Counts], float]
#: limit of rows whose pairs are in memory at once; scores of pairs are means over blocks of at most so many rows
BLOCK = 1000
#: k: a row's ball reaches to its k-th nearest neighbour
NEIGHBOUR = 3


def frechet(real: Features, fake: Features) -> Distance:
    """Fréchet distance |μ−ν|² + tr A + tr B − 2 tr √(AB) of Gaussians with the sets' means and covariances (ddof 1).

    With A = XᵀX and B = YᵀY, tr √(AB) is the sum of the singular values of XYᵀ. So only roots of symmetric matrices are
    needed, and there may be fewer rows than features.
    """

    def distance(counts: Counts) -> float:
        if counts.sum() < 2:
            return float("nan")
        used = counts > 0
        (mean, spread), (other_mean, other) = (_gaussian(rows[used], counts[used]) for rows in (real, fake))
        squared = ((mean - other_mean) ** 2).sum()
        return float(max(0.0, squared + (spread**2).sum() + (other**2).sum() - 2 * _trace_of_root(spread, other)))

    return distance


def _gaussian(rows: Features, counts: Counts) -> tuple[Features, Features]:
    """The mean D, and X N×D such that XᵀX is the covariance."""
    total = counts.sum()
    mean = counts @ rows / total
    return mean, (rows - mean) * np.sqrt(counts / (total - 1))[:, None]


def _trace_of_root(spread: Features, other: Features) -> float:
    """tr √(AB) for A = XᵀX and B = YᵀY: from XYᵀ if there are fewer rows than features, else from R·B·Rᵀ, A = RᵀR."""
    if len(spread) <= spread.shape[1]:
        return float(np.linalg.svd(spread @ other.T, compute_uv=False).sum())
    root = _root(spread.T @ spread)
    squares = np.linalg.eigvalsh(root @ (other.T @ other) @ root.T)
    return float(np.sqrt(squares.clip(min=0)).sum())


def _root(matrix: Features) -> Features:
    """R with RᵀR = the matrix: by Cholesky, which is fastest, or by eigenvalues if the matrix is singular."""
    try:
        return np.asarray(np.linalg.cholesky(matrix).T, np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrix)
        return np.asarray(np.sqrt(values.clip(min=0))[:, None] * vectors.T)


def diversity(real: Features, fake: Features) -> Distance:
    """Root mean squared distance between fake rows, divided by that between real rows; 0 if all fake rows are equal.

    The mean squared distance between two rows is twice the trace of the covariance.
    """

    def ratio(counts: Counts) -> float:
        if counts.sum() < 2:
            return float("nan")
        total, other = (float((_gaussian(rows, counts)[1] ** 2).sum()) for rows in (real, fake))
        return float(np.sqrt(other / total)) if total > 0 else float("nan")

    return ratio


def kernel(real: Features, fake: Features) -> Distance:
    """Squared maximum mean discrepancy with the kernel (x·y/D + 1)³; unbiased, so it may be below 0."""
    blocks = _blocks(len(real))
    parts = [_Kernels(real[block], fake[block]) for block in blocks]

    def distance(counts: Counts) -> float:
        return float(np.mean([part.distance(counts[block]) for block, part in zip(blocks, parts, strict=True)]))

    return distance


def _blocks(rows: int) -> list[NDArray[np.intp]]:
    """Row indices in the fewest blocks possible, whose sizes differ by at most one."""
    return np.array_split(np.arange(rows), max(1, -(-rows // BLOCK)))


class _Kernels:
    """Kernel values between up to BLOCK real and as many fake rows."""

    def __init__(self, real: Features, fake: Features) -> None:
        self.within = _kernels(real, real) + _kernels(fake, fake)
        self.between = _kernels(real, fake)
        self.own = np.diag(self.within).copy()

    def distance(self, counts: Counts) -> float:
        """A row with a count of 2 is two rows; only then it is paired with itself."""
        total = int(counts.sum())
        if total < 2:
            return float("nan")
        weights = counts.astype(np.float64)
        within = weights @ self.within @ weights - weights @ self.own
        return float(within / (total * (total - 1)) - 2 * (weights @ self.between @ weights) / total**2)


def _kernels(rows: Features, others: Features) -> Features:
    return (rows @ others.T / rows.shape[1] + 1) ** 3


def precision(real: Features, fake: Features) -> Distance:
    """The fraction of fake rows within the ball of any real row, whose radius is the distance to its third neighbour.

    With the sets exchanged it is recall. The balls are always those of all rows, and counts weight the fake rows alone:
    a real row that is resampled twice would be its own neighbour. Undefined if a block has fewer than four rows.
    """
    inside = np.concatenate([_inside(fake[block], real[block]) for block in _blocks(len(real))])

    def fraction(counts: Counts) -> float:
        return float(counts @ inside / counts.sum())

    return fraction


def _inside(rows: Features, centres: Features) -> Features:
    """1 for each row in the ball of any centre, else 0; nan with too few centres."""
    if len(centres) <= NEIGHBOUR:
        return np.full(len(rows), np.nan)
    radii = np.partition(squares(centres, centres), NEIGHBOUR, axis=1)[:, NEIGHBOUR]  # the nearest is the row itself
    near = np.any(squares(rows, centres) <= radii, axis=1)
    return np.asarray(near, np.float64)


def squares(rows: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Squared distances, len(rows)×len(others)."""
    return (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * rows @ others.T
