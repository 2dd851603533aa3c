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
    """Pixels by true (row) and predicted (column) class, K×K; where the truth is void they are not counted."""
    pairs = truth.astype(np.uint16) * np.uint16(classes) + predicted
    counts = np.bincount(pairs.ravel(), minlength=classes * (IGNORE + 1))
    return counts.reshape(IGNORE + 1, classes)[:classes]


def iou(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union by class; nan where a class is neither there nor predicted."""
    hits = matrix.diagonal()
    with np.errstate(invalid="ignore"):
        return hits / (matrix.sum(axis=0) + matrix.sum(axis=1) - hits)


def mean_defined(values: NDArray[np.float64]) -> float:
    """Of the values that are defined; nan where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def matrices(table: pa.Table, classes: int) -> NDArray[np.float64]:
    """N×K² pixels; as floats, whose sums are exact below 2^53, so that weighing rows is a matrix product."""
    return table["confusion"].combine_chunks().flatten().to_numpy().reshape(len(table), classes**2).astype(np.float64)


def _borders(table: pa.Table, classes: int) -> NDArray[np.float64]:
    """N×(1+K) boundary F1: the mean over the classes that have one in an image, then each class's; nan where none."""
    flat = table["boundary"].combine_chunks().flatten().cast(pa.float64())
    by_class = flat.to_numpy(zero_copy_only=False).reshape(len(table), classes)
    means = [mean_defined(row) for row in by_class]
    return np.column_stack([means, by_class])


def scores(table: pa.Table, classes: Sequence[str]) -> Scorer:
    """A function of row counts that gives all scores."""
    confusions, borders = matrices(table, len(classes)), _borders(table, len(classes))

    def score(counts: Counts) -> dict[str, float]:
        matrix = (counts @ confusions).reshape(len(classes), len(classes))
        support, by_class = matrix.sum(axis=1), iou(matrix)
        with np.errstate(invalid="ignore"):
            recall, share = matrix.diagonal() / support, support / support.sum()
            boundary = (counts @ np.nan_to_num(borders)) / (counts @ np.isfinite(borders))
        return {
            "mIoU": mean_defined(by_class),
            "pixel_acc": float((share * np.where(support, recall, 0)).sum()),
            "mean_acc": mean_defined(recall),
            "fw_IoU": float((share * np.where(support, by_class, 0)).sum()),
            "BF1": float(boundary[0]),
            **{f"IoU[{name}]": float(value) for name, value in zip(classes, by_class, strict=True)},
            **{f"BF1[{name}]": float(value) for name, value in zip(classes, boundary[1:], strict=True)},
        }

    return score
