"""Scores of localization: whether the label is right and the box overlaps the true one.

localization_accuracy: the fraction of images whose label is right and whose box has an IoU of at least 0.5 (Zhou et
al. 2016, https://arxiv.org/abs/1512.04150); gt_known_loc uses the box of the true class's map, and so
scores the box alone.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.bootstrap import Counts, Scorer
from pipeline.geometry import boxes
from pipeline.sample import Sample

#: minimum IoU of a true positive
MIN_IOU = 0.5


def best_iou(sample: Sample, box: NDArray[np.float32]) -> float:
    """The highest IoU of a box with one of the true boxes."""
    assert sample.boxes is not None
    return float(boxes.iou(box[None], sample.boxes).max(initial=0.0))


def scores(table: pa.Table) -> Scorer:
    """A function from row counts to all scores."""
    correct = table["label"].to_numpy() == table["prediction"].to_numpy()
    overlap, gt_known = table["iou"].to_numpy(), table["gt_known_iou"].to_numpy()
    values = {
        "localization_accuracy": correct & (overlap >= MIN_IOU),
        "gt_known_loc": gt_known >= MIN_IOU,
        "top1": correct,
        "mean_iou": overlap,
    }

    def score(counts: Counts) -> dict[str, float]:
        return {name: float((counts * value).sum() / counts.sum()) for name, value in values.items()}

    return score
