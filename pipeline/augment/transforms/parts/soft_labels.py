"""Soft labels: probabilities of the classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.sample import TABLE, Sample

#: fields that a mixed image does not have, since they would be wrong
GONE: dict[str, Any] = dict.fromkeys(name for name in TABLE if name != "label")


def mixed(sample: Sample, other: Sample, fraction: float, classes: int, name: str) -> NDArray[np.float32]:
    """The soft label of an image that is `sample` by `fraction` and `other` by the rest; it sums to 1."""
    first, second = (_vector(item, classes, name) for item in (sample, other))
    return (fraction * first + (1 - fraction) * second).astype(np.float32)


def _vector(sample: Sample, classes: int, name: str) -> NDArray[np.float64]:
    if sample.label is None:
        raise UserError(f"{name} mixes image labels, but {sample.id} has none. Use overlay instead.")
    if isinstance(sample.label, np.ndarray):
        return sample.label.astype(np.float64)
    vector = np.zeros(classes)
    vector[sample.label] = 1
    return vector
