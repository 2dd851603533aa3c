"""Instance segmentation: an outline, a box, a class and a score for everything there is.

Scores are COCO's and PASCAL VOC's, for outlines (`mask_mAP`, `mask_AP50`, …) and for the boxes around them (`mAP`,
`AP50`, …); see `detection`. Overlap of outlines is counted in pixels of the stored image.
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
from pipeline.learners.detector import Detections, Detector, Target
from pipeline.plots import proposals
from pipeline.plots.detections import boxed
from pipeline.plots.precision_recall import curves
from pipeline.sample import Sample
from pipeline.tasks.parts import detection_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("boxes", "labels", "masks")
CLASSES = "classes"
PRIMARY = "mask_mAP"
HIGHER_IS_BETTER = True
#: boxes: four numbers each, x_min, y_min, x_max, y_max in the image's pixels · masks: COCO's compressed RLE
OUTPUT = {"boxes": "double[]", "labels": "string[]", "scores": "double[]", "masks": "string[]"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """For a network that computes its own losses and gives masks; see learners/detector.py."""
    return Detector(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, list[Target]]:
    """uint8 B×C×S×S, and boxes, labels and masks an image."""
    return detection_rows.collate(samples, settings, masks=True)


def rows(sample: Sample, prediction: Detections) -> dict[str, Any]:
    """One image's detections and true ones, matched by box and by outline."""
    return detection_rows.rows(sample, prediction, masks=True)


def scorer(table: pa.Table, settings: Settings, *, detections: int = 100) -> Scorer:
    """A function of row counts that gives all scores; COCO's count at most so many detections of an image and class."""
    by_mask, by_box = (detection_rows.scores(table, settings, detections, prefix) for prefix in ("mask_", ""))

    def score(counts: Counts) -> dict[str, float]:
        return by_mask(counts) | by_box(counts)

    return score


def figures(table: pa.Table, settings: Settings, *, detections: int = 100) -> dict[str, "Figure"]:
    """Precision against recall, of outlines and of boxes, by overlap and by class."""
    by_mask, by_box = (curves(table, settings, prefix, detections=detections) for prefix in ("mask_", ""))
    return by_mask | by_box


def model_figures(learner: Detector, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """What proposals cover, where the network judges proposals."""
    return proposals.figures(learner, held_out)


def draw(sample: Sample, prediction: Detections, settings: Settings) -> NDArray[np.uint8]:
    """The image with hits in green, false alarms in red, and what was missed in yellow."""
    return boxed(sample, prediction, settings, masks=True)


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it."""
    shapes = prediction.outlines(*sample.pixels.shape[:2])
    return detection_rows.answer(sample, prediction, settings) | {"masks": [shape.decode("ascii") for shape in shapes]}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    masks = [shape.encode("ascii") for shape in answered["masks"]]
    return replace(detection_rows.prediction(sample, answered, settings), masks=masks)
