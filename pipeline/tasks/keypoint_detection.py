"""Keypoint detection: named keypoints, a box, a class and a score per object; for persons, their pose.

Scores are COCO's (https://cocodataset.org/#keypoints-eval) of keypoints (`keypoint_mAP`, `keypoint_AP50`, …), with
object keypoint similarity instead of the overlap of boxes and at most 20 detections per image and class; and COCO's and
PASCAL VOC's of boxes (`box_mAP`, `box_AP50`, …), see tasks/detection.py. Keypoints of small objects have no score: COCO
labels none.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.bootstrap import Counts, Scorer
from pipeline.geometry.placement import Placement
from pipeline.learners.base import Learner, Settings
from pipeline.learners.detector import Detections, Detector, GroundTruth, Target, area_scale
from pipeline.metrics import coco_ap, oks
from pipeline.plots import error_costs, proposals
from pipeline.plots.detections import render_detections
from pipeline.plots.precision_recall import curves
from pipeline.sample import Facts, Sample
from pipeline.tasks.parts import detection_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("boxes", "labels", "keypoints")
CLASSES = "classes"
PRIMARY = "keypoint_mAP"
HIGHER_IS_BETTER = True
ROWS_SEE_IMAGES = False
#: the smallest and largest value of each score; "" stands for all that are not named
BOUNDS = {"": (0, 1)}
#: what a split lacks where a score is undefined
UNDEFINED = {
    "": "no object with keypoints",
    "keypoint_AP": "no object of the class with keypoints",
    "box_": "no box",
    "box_AP": "no object of the class",
}
#: boxes: four numbers per object, x_min, y_min, x_max, y_max in the image's pixels · keypoints: three numbers
#: each, x, y and a score, which is not a probability
OUTPUT = {"boxes": "double[]", "labels": "string[]", "scores": "double[]", "keypoints": "double[]"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """The learner of a network that computes its own losses and gives keypoints; see learners/detector.py."""
    return Detector(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, list[Target]]:
    """uint8 images B×C×S×S, and boxes, labels and keypoints per image."""
    return detection_rows.collate(samples, settings, keypoints=True)


def restore(prediction: Detections, placement: Placement) -> Detections:
    """The detections of an input as those of the image in it."""
    return prediction.restored(placement)


def rows(sample: Sample, prediction: Detections) -> dict[str, Any]:
    """The row of one image: its detections, matched to the true objects by box and by keypoints.

    `keypoint_counted`: bytes of M×4 flags whether an object is scored by keypoints; at least one must be labelled.
    Severity is that of keypoints.
    """
    truth = oks.ignore_unlabelled(GroundTruth.of(sample))
    detections = prediction.take(coco_ap.rank_detections(prediction.scores, prediction.labels))
    areas = oks.areas(detections.keypoints_in_pixels(*sample.pixels.shape[:2])[..., :2]) * area_scale(sample)
    ignored = truth.ignored[:, None] | coco_ap.outside(truth.areas)
    overlap, wrong_area = oks.overlap(detections, truth, sample), coco_ap.outside(areas)
    matches = coco_ap.match_detections(overlap, detections.labels, wrong_area, truth.labels, ignored, truth.crowd)
    return detection_rows.rows(sample, prediction) | {
        "keypoint_matches": matches.tobytes(),
        "keypoint_counted": (~ignored).astype(np.uint8).tobytes(),
        "severity": detection_rows.mistakes(matches, detections, ignored),
    }


def _counted_by_keypoints(table: pa.Table) -> pa.Table:
    """The same rows, with `keypoint_counted` as `counted`."""
    return table.drop_columns(["counted"]).append_column("counted", table["keypoint_counted"])


def scorer(table: pa.Table, settings: Settings, *, detections: int = 100) -> Scorer:
    """A function from row counts to all scores; `detections`: COCO's limit for boxes per image and class."""
    by_box = detection_rows.scores(table, settings, detections)
    by_keypoints = coco_ap.scores(_counted_by_keypoints(table), settings.classes, "keypoint_matches", oks.LIMIT)

    def score(counts: Counts) -> dict[str, float]:
        scores = by_keypoints(counts)
        keypoint_scores = {f"keypoint_{name}": scores[name] for name in scores if not name.endswith("_small")}
        return keypoint_scores | by_box(counts)

    return score


def figures(table: pa.Table, settings: Settings, *, detections: int = 100) -> dict[str, "Figure"]:
    """Precision against recall, of keypoints and of boxes, by class; and what each kind of error of boxes costs."""
    by_keypoints = curves(_counted_by_keypoints(table), settings, "keypoint_", detections=oks.LIMIT)
    by_box = curves(table, settings, detections=detections)
    return by_keypoints | by_box | error_costs.figures(table, settings, detections=detections)


def model_figures(learner: Detector, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """Recall of proposals, if the network classifies proposals."""
    return proposals.figures(learner, held_out)


def draw(sample: Sample, prediction: Detections, settings: Settings) -> NDArray[np.uint8]:
    """The image with true positives in green, false positives in red, missed objects and true keypoints in yellow."""
    return render_detections(sample, prediction, settings, keypoints=True)


def missing(facts: Facts, train: Sequence[Sample]) -> str | None:
    """What the train split lacks, so that nothing can be learnt from it: objects with keypoints."""
    return detection_rows.missing(facts, train, keypoints=True)


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """The served answer for one image, with the fields of OUTPUT."""
    keypoints = prediction.keypoints_in_pixels(*sample.pixels.shape[:2])
    return detection_rows.answer(sample, prediction, settings) | {"keypoints": keypoints.ravel().tolist()}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The prediction of a served answer, to score a served model by the current code."""
    height, width = sample.pixels.shape[:2]
    numbers = answered.get("keypoints", answered.get("points"))  # points: of models registered by version 0.1
    keypoints = np.asarray(numbers, np.float64).reshape(-1, len(settings.keypoints), 3) / [width, height, 1]
    return replace(detection_rows.prediction(sample, answered, settings), keypoints=keypoints)
