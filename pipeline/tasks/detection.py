"""Detection: a box, a class and a score per object.

Scores are COCO's (https://cocodataset.org/#detection-eval), of boxes (`box_mAP`, `box_AP50`, …): average precision over
overlaps from 50 % to 95 %, at 50 % and 75 %, by size and by class, average recall of the best 1, 10 and 100 detections
per image and class, and by size; and PASCAL VOC's average precision, of 2007 and of 2010 and later. Difficult objects
(PASCAL VOC) and crowds (COCO) are ignored.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.bootstrap import Scorer
from pipeline.geometry.placement import Placement
from pipeline.learners.base import Learner, Settings
from pipeline.learners.baseline import Baseline
from pipeline.learners.detector import Detections, Detector, Target
from pipeline.plots import error_costs, proposals
from pipeline.plots.detections import render_detections
from pipeline.plots.precision_recall import curves
from pipeline.sample import Facts, Sample
from pipeline.shards import Shards
from pipeline.tasks.parts import detection_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("boxes", "labels")
CLASSES = "classes"
PRIMARY = "box_mAP"
HIGHER_IS_BETTER = True
ROWS_SEE_IMAGES = False
#: boxes: four numbers per object, x_min, y_min, x_max, y_max in the image's pixels
OUTPUT = {"boxes": "double[]", "labels": "string[]", "scores": "double[]"}
#: what the report says of each score
MEANINGS = {
    "box_mAP": "average precision of boxes, averaged over classes and IoU thresholds from 0.50 to 0.95 (COCO)",
    "box_AP50": "average precision of boxes at an IoU threshold of 0.50",
    "box_AP75": "average precision of boxes at an IoU threshold of 0.75",
    "box_AP": "average precision of one class’s boxes, averaged over IoU thresholds from 0.50 to 0.95",
    "box_AP_small": "average precision for objects of fewer than 32×32 pixels",
    "box_AP_medium": "average precision for objects from 32×32 to 96×96 pixels",
    "box_AP_large": "average precision for objects of more than 96×96 pixels",
    "box_AP50_voc07": "average precision of boxes at IoU 0.50 by the rules of PASCAL VOC 2007, at eleven recalls",
    "box_AP50_voc10": "average precision of boxes at IoU 0.50 by the rules of PASCAL VOC 2010 to 2012, at all recalls",
    "box_AR1": "average recall of boxes with at most one detection per image and class",
    "box_AR10": "average recall of boxes with at most 10 detections per image and class",
    "box_AR100": "average recall of boxes with at most 100 detections per image and class",
    "box_AR": "average recall of boxes with at most so many detections per image and class",
    "box_AR_small": "average recall for objects of fewer than 32×32 pixels",
    "box_AR_medium": "average recall for objects from 32×32 to 96×96 pixels",
    "box_AR_large": "average recall for objects of more than 96×96 pixels",
}
#: the smallest and largest value of each score; "" stands for all that are not named
BOUNDS = {"": (0, 1)}
#: what a split lacks where a score is undefined
UNDEFINED = {"": "no box", "box_AP": "no object of the class"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """The learner of a network that computes its own losses; see learners/detector.py."""
    return Detector(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, list[Target]]:
    """uint8 images B×C×S×S, and boxes and labels per image."""
    return detection_rows.collate(samples, settings)


def restore(prediction: Detections, placement: Placement) -> Detections:
    """The detections of an input as those of the image in it."""
    return prediction.restored(placement)


def rows(sample: Sample, prediction: Detections) -> dict[str, Any]:
    """The row of one image: its detections, matched to the true boxes."""
    return detection_rows.rows(sample, prediction)


def scorer(table: pa.Table, settings: Settings, *, detections: int = 100) -> Scorer:
    """A function from row counts to all scores; `detections`: COCO's limit per image and class."""
    return detection_rows.scores(table, settings, detections)


def figures(table: pa.Table, settings: Settings, *, detections: int = 100) -> dict[str, "Figure"]:
    """Precision against recall, by overlap and by class, and what each kind of error costs."""
    return curves(table, settings, detections=detections) | error_costs.figures(table, settings, detections=detections)


def model_figures(learner: Detector, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """Recall of proposals, if the network classifies proposals."""
    return proposals.figures(learner, held_out)


def draw(sample: Sample, prediction: Detections, settings: Settings) -> NDArray[np.uint8]:
    """The image with true positives in green, false positives in red and missed objects in yellow."""
    return render_detections(sample, prediction, settings)


def missing(facts: Facts, train: Sequence[Sample]) -> str | None:
    """What the train split lacks, so that nothing can be learnt from it: objects."""
    return detection_rows.missing(facts, train)


def baseline(train: Shards, settings: Settings) -> Baseline:
    """The mean box of each class in the train split, in every image, the most frequent class first."""
    sizes = zip(train.column("height"), train.column("width"), strict=True)
    columns = zip(train.column("boxes"), train.column("labels"), sizes, strict=True)
    sums, counts = np.zeros((len(settings.classes), 4)), np.zeros(len(settings.classes))
    for boxes, labels, (height, width) in columns:
        fractions = np.array(boxes or [], float).reshape(-1, 4) / [width, height, width, height]
        np.add.at(sums, np.array(labels or [], int), fractions)
        np.add.at(counts, np.array(labels or [], int), 1)
    present = np.flatnonzero(counts)
    means = Detections(sums[present] / counts[present, None], present, counts[present] / max(1, counts.sum()))
    return Baseline("the mean box of each class", lambda _: means)


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """The served answer for one image, with the fields of OUTPUT."""
    return detection_rows.answer(sample, prediction, settings)


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The prediction of a served answer, to score a served model by the current code."""
    return detection_rows.prediction(sample, answered, settings)
