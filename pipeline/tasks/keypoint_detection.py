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

from pipeline.bootstrap import Counts, Scorer
from pipeline.learners.base import Learner, Settings
from pipeline.learners.detector import Detections, Detector, GroundTruth, Target, enlarged
from pipeline.metrics import coco_ap, oks
from pipeline.plots import proposals
from pipeline.plots.detections import boxed
from pipeline.plots.precision_recall import curves
from pipeline.sample import Sample
from pipeline.tasks.parts import detection_rows

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
    """For a network that computes its own losses and gives points; see learners/detector.py."""
    return Detector(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, list[Target]]:
    """uint8 B×C×S×S, and boxes, labels and points an image."""
    return detection_rows.collate(samples, settings, points=True)


def rows(sample: Sample, prediction: Detections) -> dict[str, Any]:
    """One image's detections and true ones, matched by box and by points; severity is that of points.

    `keypoint_counted`: where each true one counts by its points, of which at least one must be labelled.
    """
    truth = oks.counting(GroundTruth.of(sample))
    found = prediction.take(coco_ap.ranked(prediction.scores, prediction.labels))
    areas = oks.areas(found.places(*sample.pixels.shape[:2])[..., :2]) * enlarged(sample)
    ignored = truth.ignored[:, None] | coco_ap.outside(truth.areas)
    overlap, other = oks.overlap(found, truth, sample), coco_ap.outside(areas)
    verdicts = coco_ap.verdicts(overlap, found.labels, other, truth.labels, ignored, truth.crowd)
    return detection_rows.rows(sample, prediction) | {
        "keypoint_verdicts": verdicts.tobytes(),
        "keypoint_counted": (~ignored).astype(np.uint8).tobytes(),
        "severity": detection_rows.mistakes(verdicts, found, ignored),
    }


def _of_points(table: pa.Table) -> pa.Table:
    """The same rows, where a true one counts by its points."""
    return table.drop_columns(["counted"]).append_column("counted", table["keypoint_counted"])


def scorer(table: pa.Table, settings: Settings, *, detections: int = 100) -> Scorer:
    """A function of row counts that gives all scores; those of boxes count at most so many of an image and class."""
    by_box = detection_rows.scores(table, settings, detections)
    by_point = coco_ap.scores(_of_points(table), settings.classes, "keypoint_verdicts", oks.MOST)

    def score(counts: Counts) -> dict[str, float]:
        points = {f"keypoint_{name}": value for name, value in by_point(counts).items() if not name.endswith("_small")}
        return points | by_box(counts)

    return score


def figures(table: pa.Table, settings: Settings, *, detections: int = 100) -> dict[str, "Figure"]:
    """Precision against recall, of points and of boxes, by similarity and overlap, and by class."""
    by_point = curves(_of_points(table), settings, "keypoint_", detections=oks.MOST)
    return by_point | curves(table, settings, detections=detections)


def model_figures(learner: Detector, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """What proposals cover, where the network judges proposals."""
    return proposals.figures(learner, held_out)


def draw(sample: Sample, prediction: Detections, settings: Settings) -> NDArray[np.uint8]:
    """The image with hits in green, false alarms in red, and what was missed in yellow, like all true points."""
    return boxed(sample, prediction, settings, points=True)


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it."""
    points = prediction.places(*sample.pixels.shape[:2])
    return detection_rows.answer(sample, prediction, settings) | {"points": points.ravel().tolist()}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    height, width = sample.pixels.shape[:2]
    points = np.asarray(answered["points"], np.float64).reshape(-1, len(settings.points), 3) / [width, height, 1]
    return replace(detection_rows.prediction(sample, answered, settings), points=points)
