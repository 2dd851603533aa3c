"""Soft labels: shares of an image by class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.sample import Sample

#: a mixed image shows two halves of the truth about its objects: these fields would be wrong
GONE: dict[str, Any] = {
    "boxes": None,
    "labels": None,
    "masks": None,
    "crowd": None,
    "difficult": None,
    "points": None,
    "semantic": None,
    "weight": None,
    "proposals": None,
}


def mixed(sample: Sample, other: Sample, share: float, classes: int, name: str) -> NDArray[np.float32]:
    """The label of an image of which `share` is `sample` and the rest `other`; it sums to 1."""
    first, second = (_vector(item, classes, name) for item in (sample, other))
    return (share * first + (1 - share) * second).astype(np.float32)


def _vector(sample: Sample, classes: int, name: str) -> NDArray[np.float64]:
    if sample.label is None:
        raise UserError(f"{name} mixes the labels of whole images, and {sample.id} has none. Use overlay instead.")
    if isinstance(sample.label, np.ndarray):
        return sample.label.astype(np.float64)
    vector = np.zeros(classes)
    vector[sample.label] = 1
    return vector
