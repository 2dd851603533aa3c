"""Localization: one label and one box per image, learned from labels alone.

The network gives logits and a class activation map per class (Zhou et al. 2016, https://arxiv.org/abs/1512.04150). As
in the paper, a map becomes a box: resize it to the image, keep pixels above 20 % of its maximum, and take the box of
the largest connected component. The dataset's boxes are used for scores only: localization_accuracy is the fraction of
images whose label is right and whose box has an IoU of at least 0.5 with the true one; gt_known_loc uses the true
class's map and so scores the box alone; mean_iou is that of the predicted class's box. Of several true boxes the one of
the highest IoU is used; images without a true box count for top1 alone.
"""

import base64
import io
from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from pipeline.bootstrap import Scorer
from pipeline.geometry.placement import Placement
from pipeline.learners.base import Learner, Settings
from pipeline.learners.baseline import Baseline
from pipeline.learners.localizer import ClassMaps, Localizer
from pipeline.metrics import localization
from pipeline.plots.localization import draw as draw
from pipeline.plots.localization import figures as figures
from pipeline.sample import Facts, Sample
from pipeline.shards import Shards
from pipeline.tasks import classification

#: fields that every sample must have, and the dataset's class list that the network's outputs index
NEEDS = ("label", "boxes")
CLASSES = "classes"
PRIMARY = "localization_accuracy"
HIGHER_IS_BETTER = True
ROWS_SEE_IMAGES = False
#: fields of a served answer; maps: base64 of a K×h×w float32 array as a .npy file
OUTPUT = {"label": "string", "box": "double[]", "probabilities": "double[]", "maps": "string"}
#: what the report says of each score
MEANINGS = {
    "localization_accuracy": "fraction of images with the correct class and a box of IoU ≥ 0.5 with a true box",
    "gt_known_loc": "fraction of images whose box has an IoU ≥ 0.5 with a true box when the true class is given",
    "mean_iou": "intersection over union (IoU) of predicted and true box, averaged over images",
}
#: the smallest and largest value of each score; "" stands for all that are not named
BOUNDS = {"": (0, 1)}
#: what a split lacks where a score is undefined
UNDEFINED = {"": "no box", "top1": "no image"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """The learner of a network that gives logits and maps; boxes are not used in training."""
    return Localizer(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Tensor]:
    """uint8 images B×C×H×W and B labels, or B×K soft labels if any sample is mixed."""
    return classification.collate(samples, settings)


def restore(prediction: ClassMaps, placement: Placement) -> ClassMaps:
    """The maps of an input as those of the image in it."""
    return prediction.restored(placement)


def rows(sample: Sample, prediction: ClassMaps) -> dict[str, Any]:
    """The row of one image: true and predicted label, the predicted class's box in stored pixels, and its IoU."""
    label, size = int(sample.label), sample.pixels.shape[:2]  # type: ignore[arg-type]
    box = prediction.box(prediction.label, *size)
    iou = localization.best_iou(sample, box)
    return {
        "label": label,
        "prediction": prediction.label,
        "confidence": float(prediction.probabilities[prediction.label]),
        "box": box.tolist(),
        "iou": iou,
        "gt_known_iou": localization.best_iou(sample, prediction.box(label, *size)),
        "severity": _severity(prediction.label == label, iou),
    }


def _severity(correct: bool, iou: float) -> float:
    """0 for a correct label with a box that overlaps enough; else 1 for a wrong label, and what the IoU lacks."""
    lacking = 0.0 if isnan(iou) else 1 - iou
    return 0.0 if correct and lacking <= 1 - localization.MIN_IOU else float(not correct) + lacking


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function from row counts to all scores."""
    return localization.scores(table)


def missing(facts: Facts, train: Sequence[Sample]) -> str | None:
    """What the train split lacks, so that nothing can be learnt from it: images of a second class."""
    return classification.missing(facts, train)


def baseline(train: Shards, settings: Settings) -> Baseline:
    """The most frequent class of the train split, anywhere in the image."""
    counts = np.array(settings.class_counts, np.float32)
    anywhere = ClassMaps(counts / counts.sum(), np.ones((len(counts), 1, 1), np.float32))
    return Baseline(f"always {settings.classes[int(counts.argmax())]}, the whole image", lambda _: anywhere)


def answer(sample: Sample, prediction: ClassMaps, settings: Settings) -> dict[str, Any]:
    """The served answer for one image, with the fields of OUTPUT; the box in the image's own pixels."""
    maps = io.BytesIO()
    np.save(maps, prediction.maps, allow_pickle=False)
    return {
        "label": settings.classes[prediction.label],
        "box": prediction.box(prediction.label, *sample.pixels.shape[:2]).tolist(),
        "probabilities": [float(value) for value in prediction.probabilities],
        "maps": base64.b64encode(maps.getvalue()).decode(),
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> ClassMaps:
    """The prediction of a served answer, to score a served model by the current code."""
    maps = np.load(io.BytesIO(base64.b64decode(answered["maps"])), allow_pickle=False)
    return ClassMaps(np.asarray(answered["probabilities"], np.float32), maps)
