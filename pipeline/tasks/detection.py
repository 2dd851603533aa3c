"""Detection: a box, a class and a score for everything there is.

Scores are COCO's (https://cocodataset.org/#detection-eval): average precision over overlaps from 50 % to 95 %, at
50 % and 75 %, by size and by class, average recall of the best 1, 10 and 100 detections of an image and class, and by
size; and PASCAL VOC's average precision, of 2007 and of 2010 on. Difficult ones (PASCAL VOC) and crowds (COCO) neither
help nor harm.
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
from pipeline.plots.detections import boxed
from pipeline.plots.precision_recall import curves
from pipeline.sample import Sample
from pipeline.tasks.parts import detection_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("boxes", "labels")
CLASSES = "classes"
PRIMARY = "mAP"
HIGHER_IS_BETTER = True
#: boxes: four numbers each, x_min, y_min, x_max, y_max in the image's pixels
OUTPUT = {"boxes": "double[]", "labels": "string[]", "scores": "double[]"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """For a network that computes its own losses; see learners/detector.py."""
    return Detector(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, list[Target]]:
    """uint8 B×C×S×S, and boxes and labels an image."""
    return detection_rows.collate(samples, settings)


def rows(sample: Sample, prediction: Detections) -> dict[str, Any]:
    """One image's detections and true boxes, matched."""
    return detection_rows.rows(sample, prediction)


def scorer(table: pa.Table, settings: Settings, *, detections: int = 100) -> Scorer:
    """A function of row counts that gives all scores; COCO's count at most so many detections of an image and class."""
    return detection_rows.scores(table, settings, detections)


def figures(table: pa.Table, settings: Settings, *, detections: int = 100) -> dict[str, "Figure"]:
    """Precision against recall, by overlap and by class."""
    return curves(table, settings, detections=detections)


def model_figures(learner: Detector, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """What proposals cover, where the network judges proposals."""
    return proposals.figures(learner, held_out)


def draw(sample: Sample, prediction: Detections, settings: Settings) -> NDArray[np.uint8]:
    """The image with hits in green, false alarms in red, and what was missed in yellow."""
    return boxed(sample, prediction, settings)


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it."""
    return detection_rows.answer(sample, prediction, settings)


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    return detection_rows.prediction(sample, answered, settings)
