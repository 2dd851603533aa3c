"""Segmentation: one class a pixel.

Scores: mean intersection over union, pixel and mean class accuracy and frequency-weighted IoU (Long et al. 2015,
https://arxiv.org/abs/1411.4038), and each class's IoU. A row holds its image's confusion matrix at stored size and
scores come from the sum of matrices over the data set: mIoU is no mean over images, void pixels (255) count nowhere,
and a class that is neither there nor predicted is skipped. (That is torchmetrics' JaccardIndex; its MeanIoU, a mean
over images, is another quantity.) BF1 is the mean over images of the boundary F1 (metrics/boundary_f1.py), that of a
class over the images in which it has a border.
"""

import base64
from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import images
from pipeline.bootstrap import Scorer
from pipeline.errors import UserError
from pipeline.learners.base import Learner, Settings, weights_of
from pipeline.learners.batch import stack
from pipeline.learners.segmenter import LabelMap, Loss, Segmenter
from pipeline.metrics import miou
from pipeline.metrics.boundary_f1 import boundary_f1
from pipeline.plots.segmentation import draw as draw
from pipeline.plots.segmentation import figures as figures
from pipeline.sample import IGNORE, Sample

if TYPE_CHECKING:
    pass

#: fields that every sample must have, and which of a dataset's class lists the network's outputs index
NEEDS = ("semantic",)
CLASSES = "semantic_classes"
PRIMARY = "mIoU"
HIGHER_IS_BETTER = True
#: what a served model answers, by name: base64 of a PNG whose grey values are ids, and the ids' names
OUTPUT = {"mask": "string", "classes": "string[]"}


def learner(
    network: nn.Module,
    settings: Settings,
    *,
    class_weights: dict[str, float] | None = None,
    dice: float = 0.0,
    focal: float = 0.0,
    border_weights: bool = False,
    patches: float = 1.0,
    patch_side: int = 32,
) -> Learner:
    """A segmenter's learner.

    class_weights: what a pixel of a class counts, by the class's name; 1 where not given · dice: weight of the soft
    Dice loss that is added · focal: the power of 1 − p by which certain pixels count less · border_weights: whether the
    sample's weights, derived by border_weights, are added to those of the classes · patches: the share of
    cells, of `patch_side` px each, whose loss by pixel counts at a training step: with the network's stride as side,
    sampling of the patches that its coarsest outputs see (Long 2015, section 3.4).
    """
    classes = settings.semantic_classes
    if len(classes) > IGNORE:
        raise UserError(f"{len(classes)} semantic classes are too many; {IGNORE} are possible, for ids are bytes")
    if not 0 < patches <= 1 or patch_side < 1:
        raise UserError(f"loss.patches: {patches} of cells of {patch_side} px; give a share in 0..1, and 1 px or more")
    loss = Loss(dice, focal, border_weights, patches, patch_side)
    return Segmenter(network, settings, weights_of(classes, class_weights or {}), loss)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Any]:
    """uint8 B×C×H×W and int64 ids B×H×W, all void where an image comes without truth; with weights where samples do."""
    maps = [
        np.full(sample.pixels.shape[:2], IGNORE) if sample.semantic is None else sample.semantic for sample in samples
    ]
    ids, weights = torch.from_numpy(np.stack(maps)).long(), [sample.weight for sample in samples]
    known = [weight for weight in weights if weight is not None]
    return stack(samples, settings.channels), (ids, torch.from_numpy(np.stack(known))) if known else ids


def rows(sample: Sample, prediction: LabelMap) -> dict[str, Any]:
    """One test image at stored size: confusion matrix, flat, boundary F1 of each class, and 1 − its mIoU as severity.

    boundary: null where the class has no border, neither in the truth nor in the prediction.
    """
    truth: NDArray[np.uint8] = sample.semantic  # type: ignore[assignment]
    guess = prediction.scaled(*truth.shape)
    counts = miou.confusion(truth, guess, prediction.classes)
    borders = boundary_f1(truth, guess, prediction.classes).tolist()
    return {
        "confusion": counts.ravel().tolist(),
        "boundary": [None if isnan(value) else value for value in borders],
        "severity": 1 - miou.mean_defined(miou.iou(counts)) if counts.any() else 0.0,
    }


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function of row counts that gives all scores."""
    return miou.scores(table, settings.semantic_classes)


def answer(sample: Sample, prediction: LabelMap, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it, in the image's own pixels."""
    ids = prediction.scaled(*sample.pixels.shape[:2])
    mask = base64.b64encode(images.encode_png(ids)).decode()
    return {"mask": mask, "classes": list(settings.semantic_classes)}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> LabelMap:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    ids = images.decode_stored(base64.b64decode(answered["mask"]), gray=True)
    return LabelMap(ids, len(settings.semantic_classes))
