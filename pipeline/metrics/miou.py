"""Scores of segmentation from confusion matrices: mean IoU, pixel and mean accuracy, frequency-weighted IoU.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
https://arxiv.org/abs/1411.4038, section 5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.bootstrap import Counts, Scorer
from pipeline.sample import IGNORE


def confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixel counts by true (row) and predicted (column) class, K×K; pixels whose truth is void are left out."""
    pairs = truth.astype(np.uint16) * np.uint16(classes) + predicted
    counts = np.bincount(pairs.ravel(), minlength=classes * (IGNORE + 1))
    return counts.reshape(IGNORE + 1, classes)[:classes]


def iou(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union by class, K; nan for a class without true or predicted pixels."""
    intersection = matrix.diagonal()
    with np.errstate(invalid="ignore"):
        return intersection / (matrix.sum(axis=0) + matrix.sum(axis=1) - intersection)


def mean_defined(values: NDArray[np.float64]) -> float:
    """The mean of the finite values; nan if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def matrices(table: pa.Table, classes: int) -> NDArray[np.float64]:
    """N×K² pixel counts; as floats, so that weighted sums are a matrix product (exact below 2^53)."""
    return table["confusion"].combine_chunks().flatten().to_numpy().reshape(len(table), classes**2).astype(np.float64)


def _borders(table: pa.Table, classes: int) -> NDArray[np.float64]:
    """N×(1+K) boundary F1: the mean over an image's classes, then each class's; nan where undefined."""
    flat = table["boundary"].combine_chunks().flatten().cast(pa.float64())
    by_class = flat.to_numpy(zero_copy_only=False).reshape(len(table), classes)
    means = [mean_defined(row) for row in by_class]
    return np.column_stack([means, by_class])


def scores(table: pa.Table, classes: Sequence[str]) -> Scorer:
    """A function from row counts to all scores."""
    confusions, borders = matrices(table, len(classes)), _borders(table, len(classes))

    def score(counts: Counts) -> dict[str, float]:
        matrix = (counts @ confusions).reshape(len(classes), len(classes))
        support, by_class = matrix.sum(axis=1), iou(matrix)
        with np.errstate(invalid="ignore"):
            recall, frequency = matrix.diagonal() / support, support / support.sum()
            boundary = (counts @ np.nan_to_num(borders)) / (counts @ np.isfinite(borders))
        return {
            "mIoU": mean_defined(by_class),
            "pixel_acc": float((frequency * np.where(support, recall, 0)).sum()),
            "mean_acc": mean_defined(recall),
            "fw_IoU": float((frequency * np.where(support, by_class, 0)).sum()),
            "BF1": float(boundary[0]),
            **{f"IoU[{name}]": float(value) for name, value in zip(classes, by_class, strict=True)},
            **{f"BF1[{name}]": float(value) for name, value in zip(classes, boundary[1:], strict=True)},
        }

    return score
