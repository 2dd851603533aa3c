"""Instance segmentation: a mask, a box, a class and a score per object.

Scores are COCO's and PASCAL VOC's, of masks (`mask_mAP`, `mask_AP50`, …) and of their boxes (`box_mAP`, `box_AP50`, …);
see tasks/detection.py. The overlap of masks is counted in pixels of the stored image.
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
from pipeline.learners.detector import Detections, Detector, Target
from pipeline.plots import error_costs, proposals
from pipeline.plots.detections import render_detections
from pipeline.plots.precision_recall import curves
from pipeline.sample import Facts, Sample
from pipeline.tasks.parts import detection_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("boxes", "labels", "masks")
CLASSES = "classes"
PRIMARY = "mask_mAP"
HIGHER_IS_BETTER = True
ROWS_SEE_IMAGES = False
#: the smallest and largest value of each score; "" stands for all that are not named
BOUNDS = {"": (0, 1)}
#: what a split lacks where a score is undefined
UNDEFINED = {"": "no object", "mask_AP": "no object of the class", "box_AP": "no object of the class"}
#: boxes: four numbers per object, x_min, y_min, x_max, y_max in the image's pixels · masks: COCO's compressed RLE
OUTPUT = {"boxes": "double[]", "labels": "string[]", "scores": "double[]", "masks": "string[]"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """The learner of a network that computes its own losses and gives masks; see learners/detector.py."""
    return Detector(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, list[Target]]:
    """uint8 images B×C×S×S, and boxes, labels and masks per image."""
    return detection_rows.collate(samples, settings, masks=True)


def restore(prediction: Detections, placement: Placement) -> Detections:
    """The detections of an input as those of the image in it."""
    return prediction.restored(placement)


def rows(sample: Sample, prediction: Detections) -> dict[str, Any]:
    """The row of one image: its detections, matched to the true objects by box and by mask."""
    return detection_rows.rows(sample, prediction, masks=True)


def scorer(table: pa.Table, settings: Settings, *, detections: int = 100) -> Scorer:
    """A function from row counts to all scores; `detections`: COCO's limit per image and class."""
    by_mask, by_box = (detection_rows.scores(table, settings, detections, prefix) for prefix in ("mask_", "box_"))

    def score(counts: Counts) -> dict[str, float]:
        return by_mask(counts) | by_box(counts)

    return score


def figures(table: pa.Table, settings: Settings, *, detections: int = 100) -> dict[str, "Figure"]:
    """Precision against recall, of masks and of boxes, by overlap and by class, and what each kind of error costs."""
    by_mask, by_box = (curves(table, settings, prefix, detections=detections) for prefix in ("mask_", "box_"))
    return by_mask | by_box | error_costs.figures(table, settings, "mask_", detections=detections)


def model_figures(learner: Detector, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """Recall of proposals, if the network classifies proposals."""
    return proposals.figures(learner, held_out)


def draw(sample: Sample, prediction: Detections, settings: Settings) -> NDArray[np.uint8]:
    """The image with true positives in green, false positives in red and missed objects in yellow."""
    return render_detections(sample, prediction, settings, masks=True)


def missing(facts: Facts, train: Sequence[Sample]) -> str | None:
    """What the train split lacks, so that nothing can be learnt from it: objects."""
    return detection_rows.missing(facts, train)


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """The served answer for one image, with the fields of OUTPUT."""
    masks = prediction.masks_in_pixels(*sample.pixels.shape[:2])
    return detection_rows.answer(sample, prediction, settings) | {"masks": [mask.decode("ascii") for mask in masks]}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The prediction of a served answer, to score a served model by the current code."""
    masks = [mask.encode("ascii") for mask in answered["masks"]]
    return replace(detection_rows.prediction(sample, answered, settings), masks=masks)
