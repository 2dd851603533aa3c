"""Scores of localization: whether the label is right and the box overlaps the true one.

localization_accuracy: the fraction of images whose label is right and whose box has an IoU of at least 0.5 (Zhou et
al. 2016, https://arxiv.org/abs/1512.04150); gt_known_loc uses the box of the true class's map, and so
scores the box alone. Images without a true box count for top1 alone.
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
    """The highest IoU of a box with one of the true boxes; nan without any."""
    assert sample.boxes is not None
    return float(boxes.iou(box[None], sample.boxes).max()) if len(sample.boxes) else float("nan")


def scores(table: pa.Table) -> Scorer:
    """A function from row counts to all scores."""
    correct = table["label"].to_numpy() == table["prediction"].to_numpy()
    overlap, gt_known = table["iou"].to_numpy(), table["gt_known_iou"].to_numpy()
    has_box = np.isfinite(overlap)
    values = {
        "localization_accuracy": correct & (overlap >= MIN_IOU),
        "gt_known_loc": gt_known >= MIN_IOU,
        "mean_iou": np.nan_to_num(overlap),
    }

    def score(counts: Counts) -> dict[str, float]:
        boxed = counts * has_box
        with np.errstate(invalid="ignore"):
            scores = {name: float((boxed * value).sum() / boxed.sum()) for name, value in values.items()}
        return scores | {"top1": float((counts * correct).sum() / counts.sum())}

    return score
