"""Segmentation: one class per pixel.

Scores: mean intersection over union, pixel and mean class accuracy and frequency-weighted IoU (Long et al. 2015,
https://arxiv.org/abs/1411.4038), and each class's IoU. A row holds its image's confusion matrix at stored size, and
scores come from the sum of the matrices over the dataset: mIoU is not a mean over images, void pixels (255) are not
counted, and a class without true or predicted pixels is left out. (This is torchmetrics' JaccardIndex; its MeanIoU, a
mean over images, is another quantity.) BF1 is the mean over images of the boundary F1 (metrics/boundary_f1.py); that of
a class, over the images in which it has a border.
"""

import base64
from collections.abc import Sequence
from math import isnan
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import images
from pipeline.bootstrap import Scorer
from pipeline.errors import UserError
from pipeline.geometry.placement import Placement
from pipeline.learners.base import Learner, Settings, class_weights_tensor
from pipeline.learners.baseline import Baseline
from pipeline.learners.batch import stack
from pipeline.learners.segmenter import LabelMap, LossOptions, Segmenter
from pipeline.metrics import miou
from pipeline.metrics.boundary_f1 import boundary_f1
from pipeline.plots.segmentation import draw as draw
from pipeline.plots.segmentation import figures as figures
from pipeline.sample import IGNORE, Facts, Sample
from pipeline.shards import Shards

#: train images that a baseline counts
COUNTED = 50
#: fields that every sample must have, and the dataset's class list that the network's outputs index
NEEDS = ("semantic",)
CLASSES = "semantic_classes"
PRIMARY = "mIoU"
HIGHER_IS_BETTER = True
ROWS_SEE_IMAGES = False
#: fields of a served answer; mask: base64 of a PNG whose gray values are ids; classes: the ids' names
OUTPUT = {"mask": "string", "classes": "string[]"}
#: what the report says of each score
MEANINGS = {
    "mIoU": "intersection over union (IoU) of predicted and true pixels of a class, averaged over classes",
    "IoU": "intersection over union of predicted and true pixels of one class",
    "BF1": "boundary F1: agreement of predicted and true contours within 0.75 % of the image’s diagonal",
    "fw_IoU": "IoU averaged over classes, each weighted by its number of pixels",
    "pixel_acc": "fraction of pixels whose class is correct",
    "mean_acc": "fraction of a class’s pixels whose class is correct, averaged over classes",
}
#: the smallest and largest value of each score; "" stands for all that are not named
BOUNDS = {"": (0, 1)}
#: what a split lacks where a score is undefined
UNDEFINED = {
    "": "no annotated pixel",
    "IoU": "no true or predicted pixel of the class",
    "BF1": "no true or predicted border",
}


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
    """The learner of a segmenter.

    Args:
        network: gives logits B×K×h×w.
        settings: classes and image scaling.
        class_weights: weight of a pixel in the loss by its class's name; 1 by default.
        dice: weight of the soft Dice loss, which is added.
        focal: exponent γ of the focal loss's factor (1 − p)^γ, which lowers the weight of pixels predicted with
            certainty.
        border_weights: whether to add the samples' border weights (augment/derived/border_weights.py) to those of
            classes.
        patches: fraction of cells whose pixels count in the loss, chosen at random per training step. With the
            network's stride as side, this is the patch sampling of Long 2015, section 3.4.
        patch_side: side of a cell in pixels.
    """
    classes = settings.semantic_classes
    if len(classes) > IGNORE:
        raise UserError(f"{len(classes)} semantic classes; at most {IGNORE} are possible, as ids are bytes")
    if not 0 < patches <= 1 or patch_side < 1:
        raise UserError(
            f"loss.patches: {patches}, loss.patch_side: {patch_side}; patches must be above 0 and at most 1, "
            "and patch_side at least 1 px"
        )
    loss = LossOptions(dice, focal, border_weights, patches, patch_side)
    return Segmenter(network, settings, class_weights_tensor(classes, class_weights or {}), loss)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Any]:
    """uint8 images B×C×H×W and int64 ids B×H×W, or (ids, weights B×H×W) if samples have weights.

    An image without annotation is all void.
    """
    maps = [
        np.full(sample.pixels.shape[:2], IGNORE) if sample.semantic is None else sample.semantic for sample in samples
    ]
    ids = torch.from_numpy(np.stack(maps)).long()
    weights = [sample.weight for sample in samples if sample.weight is not None]
    return stack(samples, settings.channels), (ids, torch.from_numpy(np.stack(weights))) if weights else ids


def restore(prediction: LabelMap, placement: Placement) -> LabelMap:
    """The label map of an input as that of the image in it."""
    return prediction.restored(placement)


def rows(sample: Sample, prediction: LabelMap) -> dict[str, Any]:
    """The row of one image at stored size: flat confusion matrix K², boundary F1 per class K, and 1 − mIoU as severity.

    boundary: null for a class without a true or predicted border.
    """
    truth: NDArray[np.uint8] = sample.semantic  # type: ignore[assignment]
    predicted = prediction.scaled(*truth.shape)
    counts = miou.confusion(truth, predicted, prediction.classes)
    boundary = boundary_f1(truth, predicted, prediction.classes).tolist()
    return {
        "confusion": counts.ravel().tolist(),
        "boundary": [None if isnan(value) else value for value in boundary],
        "severity": 1 - miou.mean_defined(miou.iou(counts)) if counts.any() else 0.0,
    }


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function from row counts to all scores."""
    return miou.scores(table, settings.semantic_classes)


def missing(facts: Facts, train: Sequence[Sample]) -> str | None:
    """What the train split lacks, so that nothing can be learnt from it: pixels of a second class."""
    present = set[int]()
    for sample in train:
        present |= set() if sample.semantic is None else set(np.unique(sample.semantic).tolist()) - {IGNORE}
        if len(present) > 1:
            return None
    names = ", ".join(facts.semantic_classes[value] for value in present)
    return f"no pixel of a second class beside {names or 'none'}"


def baseline(train: Shards, settings: Settings) -> Baseline:
    """The most frequent class at every pixel; of two classes that differ in brightness, Otsu's threshold."""
    indices = images.spread(len(train), COUNTED).tolist()
    classes = len(settings.semantic_classes)
    counts = np.sum([np.bincount(_annotated(train.blank(index)), minlength=classes) for index in indices], axis=0)
    frequent = int(np.argmax(counts))
    if classes == 2 and (otsu := _otsu([train[index] for index in indices], counts.max() / counts.sum())):
        return otsu
    name = settings.semantic_classes[frequent]

    def fill(item: Sample) -> LabelMap:
        return LabelMap(np.full(item.pixels.shape[:2], frequent, np.uint8), classes)

    return Baseline(f"{name} at every pixel", fill)


def _annotated(item: Sample) -> NDArray[np.uint8]:
    labels: NDArray[np.uint8] = item.semantic  # type: ignore[assignment]
    return labels[labels != IGNORE]


def _otsu(samples: Sequence[Sample], frequent: float) -> Baseline | None:
    """Otsu's threshold, bright or dark pixels being class 1; None where the most frequent class is right more often.

    Otsu 1979, https://doi.org/10.1109/TSMC.1979.4310076.
    """

    def bright(item: Sample) -> NDArray[np.bool_]:
        gray = cv2.cvtColor(item.pixels, cv2.COLOR_RGB2GRAY)
        return cv2.threshold(gray, 0, 1, cv2.THRESH_OTSU)[1].astype(bool)

    agreed = [(bright(item) == item.semantic)[item.semantic != IGNORE].mean() for item in samples]
    mean = float(np.nanmean(agreed))
    if max(mean, 1 - mean) <= frequent:
        return None
    dark = mean < 0.5
    return Baseline(
        f"Otsu's threshold, {'dark' if dark else 'bright'} is class 1",
        lambda item: LabelMap((bright(item) ^ dark).astype(np.uint8), 2),
        sees_images=True,
    )


def answer(sample: Sample, prediction: LabelMap, settings: Settings) -> dict[str, Any]:
    """The served answer for one image, with the fields of OUTPUT, in the image's own pixels."""
    ids = prediction.scaled(*sample.pixels.shape[:2])
    mask = base64.b64encode(images.encode_png(ids)).decode()
    return {"mask": mask, "classes": list(settings.semantic_classes)}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> LabelMap:
    """The prediction of a served answer, to score a served model by the current code."""
    ids = images.decode_stored(base64.b64decode(answered["mask"]), gray=True)
    return LabelMap(ids, len(settings.semantic_classes))
