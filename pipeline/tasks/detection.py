"""Detection: a box, a class and a score per object.

Scores are COCO's (https://cocodataset.org/#detection-eval): average precision over overlaps from 50 % to 95 %, at 50 %
and 75 %, by size and by class, average recall of the best 1, 10 and 100 detections per image and class, and by size;
and PASCAL VOC's average precision, of 2007 and of 2010 and later. Difficult objects (PASCAL VOC) and crowds (COCO) are
ignored.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.bootstrap import Scorer
from pipeline.learners.base import Learner, Settings
from pipeline.learners.detector import Detections, Detector, Target
from pipeline.plots import proposals
from pipeline.plots.detections import render_detections
from pipeline.plots.precision_recall import curves
from pipeline.sample import Sample
from pipeline.tasks.parts import detection_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("boxes", "labels")
CLASSES = "classes"
PRIMARY = "mAP"
HIGHER_IS_BETTER = True
#: boxes: four numbers per object, x_min, y_min, x_max, y_max in the image's pixels
OUTPUT = {"boxes": "double[]", "labels": "string[]", "scores": "double[]"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """The learner of a network that computes its own losses; see learners/detector.py."""
    return Detector(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, list[Target]]:
    """uint8 images B×C×S×S, and boxes and labels per image."""
    return detection_rows.collate(samples, settings)


def rows(sample: Sample, prediction: Detections) -> dict[str, Any]:
    """The row of one image: its detections, matched to the true boxes."""
    return detection_rows.rows(sample, prediction)


def scorer(table: pa.Table, settings: Settings, *, detections: int = 100) -> Scorer:
    """A function from row counts to all scores; `detections`: COCO's limit per image and class."""
    return detection_rows.scores(table, settings, detections)


def figures(table: pa.Table, settings: Settings, *, detections: int = 100) -> dict[str, "Figure"]:
    """Precision against recall, by overlap and by class."""
    return curves(table, settings, detections=detections)


def model_figures(learner: Detector, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """Recall of proposals, if the network classifies proposals."""
    return proposals.figures(learner, held_out)


def draw(sample: Sample, prediction: Detections, settings: Settings) -> NDArray[np.uint8]:
    """The image with true positives in green, false positives in red and missed objects in yellow."""
    return render_detections(sample, prediction, settings)


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """The served answer for one image, with the fields of OUTPUT."""
    return detection_rows.answer(sample, prediction, settings)


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The prediction of a served answer, to score a served model by the current code."""
    return detection_rows.prediction(sample, answered, settings)
