"""Keypoint detection: named points, a box, a class and a score for everything there is; of persons it is their pose.

Scores are COCO's (https://cocodataset.org/#keypoints-eval) for points (`keypoint_mAP`, `keypoint_AP50`, …), with the
similarity of points in place of the overlap of boxes and at most 20 detections of an image and class; and COCO's and
PASCAL VOC's for boxes (`mAP`, `AP50`, …), see `detection`. Points have no score for small things: COCO labels none.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.sample import Sample
from pipeline.statistics import Counts, Scorer
from pipeline.tasks import _average_precision as precision
from pipeline.tasks import _detection, _keypoints
from pipeline.tasks._boxed import boxed
from pipeline.tasks._learner import Learner, Settings
from pipeline.tasks._precision_recall import curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("boxes", "labels", "points")
CLASSES = "classes"
PRIMARY = "keypoint_mAP"
HIGHER_IS_BETTER = True
#: boxes: four numbers each, x_min, y_min, x_max, y_max in the image's pixels · points: three numbers for each point of
#: each thing, x, y and how sure it is, which is no probability
OUTPUT = {"boxes": "double[]", "labels": "string[]", "scores": "double[]", "points": "double[]"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """For a network that computes its own losses and gives points; see `_detection`."""
    return _detection.Detector(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, list[_detection.Target]]:
    """uint8 B×C×S×S, and boxes, labels and points an image."""
    return _detection.collate(samples, settings, points=True)


def rows(sample: Sample, prediction: _detection.Found) -> dict[str, Any]:
    """One image's detections and true ones, matched by box and by points; severity is that of points.

    `keypoint_counted`: where each true one counts by its points, of which at least one must be labelled.
    """
    truth = _keypoints.counting(_detection.Truth.of(sample))
    found = prediction.take(precision.ranked(prediction.scores, prediction.labels))
    areas = _keypoints.areas(found.places(*sample.pixels.shape[:2])[..., :2]) * _detection.enlarged(sample)
    ignored = truth.ignored[:, None] | precision.outside(truth.areas)
    overlap, other = _keypoints.overlap(found, truth, sample), precision.outside(areas)
    verdicts = precision.verdicts(overlap, found.labels, other, truth.labels, ignored, truth.crowd)
    return _detection.rows(sample, prediction) | {
        "keypoint_verdicts": verdicts.tobytes(),
        "keypoint_counted": (~ignored).astype(np.uint8).tobytes(),
        "severity": _detection.mistakes(verdicts, found, ignored),
    }


def _of_points(table: pa.Table) -> pa.Table:
    """The same rows, where a true one counts by its points."""
    return table.drop_columns(["counted"]).append_column("counted", table["keypoint_counted"])


def scorer(table: pa.Table, settings: Settings, *, detections: int = 100) -> Scorer:
    """A function of row counts that gives all scores; those of boxes count at most so many of an image and class."""
    by_box = _detection.scores(table, settings, detections)
    by_point = precision.scores(_of_points(table), settings.classes, "keypoint_verdicts", _keypoints.MOST)

    def score(counts: Counts) -> dict[str, float]:
        points = {f"keypoint_{name}": value for name, value in by_point(counts).items() if not name.endswith("_small")}
        return points | by_box(counts)

    return score


def figures(table: pa.Table, settings: Settings, *, detections: int = 100) -> dict[str, "Figure"]:
    """Precision against recall, of points and of boxes, by similarity and overlap, and by class."""
    by_point = curves(_of_points(table), settings, "keypoint_", detections=_keypoints.MOST)
    return by_point | curves(table, settings, detections=detections)


def draw(sample: Sample, prediction: _detection.Found, settings: Settings) -> NDArray[np.uint8]:
    """The image with hits in green, false alarms in red, and what was missed in yellow, like all true points."""
    return boxed(sample, prediction, settings, points=True)


def answer(sample: Sample, prediction: _detection.Found, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it."""
    points = prediction.places(*sample.pixels.shape[:2])
    return _detection.answer(sample, prediction, settings) | {"points": points.ravel().tolist()}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> _detection.Found:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    height, width = sample.pixels.shape[:2]
    points = np.asarray(answered["points"], np.float64).reshape(-1, len(settings.points), 3) / [width, height, 1]
    return replace(_detection.prediction(sample, answered, settings), points=points)
