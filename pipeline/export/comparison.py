"""Whether an exported file answers as the model does: on the same images, and as evaluate's stored rows say."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: largest difference of an output, as a fraction of its largest value (of 1, where that is smaller)
TOLERANCE = 1e-3
#: largest difference of a number in a row, as such a fraction; and the fraction of rows that must agree, as a class may
#: change where two are equally probable
ROW_TOLERANCE, ROWS_AGREE = 1e-2, 0.9


def difference(ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]], *, unordered: bool) -> float:
    """The largest difference of outputs by name, as a fraction of the output's largest value; inf for other shapes.

    unordered: rows are objects; each is compared with the one of the other side that is most similar.
    """
    if unordered:
        return max(_unmatched(ours, theirs), _unmatched(theirs, ours))
    return max(_farthest(values, theirs[name]) for name, values in ours.items())


def _farthest(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    if not ours.size:
        return 0.0
    differences = np.abs(ours.astype(np.float64) - theirs)
    if ours.dtype == np.uint8:  # pictures, rounded from numbers that differ by less
        differences = np.maximum(differences - 1, 0)
    largest = float(differences.max() / max(1.0, np.abs(ours).max()))
    return float("inf") if np.isnan(largest) else largest


def _unmatched(ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> float:
    """How far the object that has the least similar counterpart is from it.

    An object that is last in the list by less than the tolerance may be missing: there, the least difference decides
    which are the best so many.
    """
    scores = ours["scores"]
    if not len(scores):
        return 0.0
    certain = np.flatnonzero(scores > scores.min() + TOLERANCE)
    if not len(theirs["scores"]):
        return float("inf") if len(certain) else 0.0
    distances = np.zeros((len(certain), len(theirs["scores"])))
    for name, values in ours.items():
        flat = values[certain].reshape(len(certain), -1).astype(np.float64)
        others = theirs[name].reshape(len(theirs["scores"]), -1)
        scale = max(1.0, float(np.abs(flat).max(initial=0)))
        for index, row in enumerate(flat):
            distances[index] = np.maximum(distances[index], np.abs(others - row).max(axis=1) / scale)
    return float(distances.min(axis=1).max(initial=0))


def agreeing(rows: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]) -> tuple[int, float]:
    """How many rows agree with those that evaluate stored, by their single numbers, and the largest difference."""
    farthest = [_row_difference(*pair) for pair in zip(rows, stored, strict=True)]
    return sum(value <= ROW_TOLERANCE for value in farthest), max(farthest, default=0.0)


def _row_difference(row: Mapping[str, Any], stored: Mapping[str, Any]) -> float:
    names = [name for name, value in row.items() if isinstance(value, Real) and isinstance(stored.get(name), Real)]
    pairs = np.array([[row[name], stored[name]] for name in names], np.float64).reshape(-1, 2)
    defined = pairs[np.isfinite(pairs).all(axis=1)]
    return float((np.abs(defined[:, 0] - defined[:, 1]) / np.maximum(1, np.abs(defined[:, 1]))).max(initial=0))
