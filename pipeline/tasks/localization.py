"""Localization: one label and one box an image, learnt from labels alone.

The network gives logits and a map for each class (Zhou et al. 2016, https://arxiv.org/abs/1512.04150). A box is what
the paper makes of a map: enlarge it to the image, keep what is above 20 % of its maximum, and take the box around the
largest connected piece. Boxes of the data set only score: loc_acc is the share of images whose label is right and
whose box overlaps the true one by an IoU of at least 0.5; gt_known_loc takes the true class's map instead, and so
asks for the box alone; mean_iou is that of the predicted class's box. Of several true boxes the best met counts.
"""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from pipeline.bootstrap import Scorer
from pipeline.learners.base import Learner, Settings
from pipeline.learners.localizer import ClassMaps, Localizer
from pipeline.metrics import localization
from pipeline.plots.localization import draw as draw
from pipeline.plots.localization import figures as figures
from pipeline.sample import Sample
from pipeline.tasks import classification

if TYPE_CHECKING:
    pass

#: fields that every sample must have, and which of a dataset's class lists the network's outputs index
NEEDS = ("label", "boxes")
CLASSES = "classes"
PRIMARY = "loc_acc"
HIGHER_IS_BETTER = True
#: what a served model answers, by name; maps: base64 of a K×h×w float32 array as a .npy file
OUTPUT = {"label": "string", "box": "double[]", "probabilities": "double[]", "maps": "string"}


def learner(network: nn.Module, settings: Settings) -> Learner:
    """The learner of a network that gives logits and maps; it never sees a box."""
    return Localizer(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Tensor]:
    """uint8 B×C×H×W and B labels (or B×K soft labels where any sample is mixed)."""
    return classification.collate(samples, settings)


def rows(sample: Sample, prediction: ClassMaps) -> dict[str, Any]:
    """One test image: true and predicted label, the predicted class's box in stored pixels, and its overlap."""
    label, place = int(sample.label), sample.pixels.shape[:2]  # type: ignore[arg-type]
    box = prediction.box(prediction.label, *place)
    overlap = localization.best_iou(sample, box)
    return {
        "label": label,
        "prediction": prediction.label,
        "confidence": float(prediction.probabilities[prediction.label]),
        "box": box.tolist(),
        "iou": overlap,
        "gt_known_iou": localization.best_iou(sample, prediction.box(label, *place)),
        "severity": float(prediction.label != label) + 1 - overlap,
    }


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function of row counts that gives all scores."""
    return localization.scores(table)


def answer(sample: Sample, prediction: ClassMaps, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it; the box in the image's own pixels."""
    maps = io.BytesIO()
    np.save(maps, prediction.maps, allow_pickle=False)
    return {
        "label": settings.classes[prediction.label],
        "box": prediction.box(prediction.label, *sample.pixels.shape[:2]).tolist(),
        "probabilities": [float(value) for value in prediction.probabilities],
        "maps": base64.b64encode(maps.getvalue()).decode(),
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> ClassMaps:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    maps = np.load(io.BytesIO(base64.b64decode(answered["maps"])), allow_pickle=False)
    return ClassMaps(np.asarray(answered["probabilities"], np.float32), maps)
