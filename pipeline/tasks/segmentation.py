"""Segmentation: one class a pixel.

Scores: mean intersection over union, pixel and mean class accuracy and frequency-weighted IoU (Long et al. 2015,
https://arxiv.org/abs/1411.4038), and each class's IoU. A row holds its image's confusion matrix at stored size and
scores come from the sum of matrices over the data set: mIoU is no mean over images, void pixels (255) count nowhere,
and a class that is neither there nor predicted is skipped. (That is torchmetrics' JaccardIndex; its MeanIoU, a mean
over images, is another quantity.) BF1 is the mean over images of the boundary F1 (_boundary.py), that of a class over
the images in which it has a border.
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
from pipeline.errors import UserError
from pipeline.sample import IGNORE, Sample
from pipeline.statistics import Counts, Scorer
from pipeline.tasks._boundary import boundary_f1
from pipeline.tasks._images import RED, bars_figure, confusion_figure, overlaid, palette, panels, stack
from pipeline.tasks._learner import Learner, Settings, weights_of
from pipeline.tasks._segmenter import LabelMap, Loss, Segmenter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixels by true (row) and predicted (column) class, K×K; where the truth is void they are not counted."""
    pairs = truth.astype(np.uint16) * np.uint16(classes) + predicted
    counts = np.bincount(pairs.ravel(), minlength=classes * (IGNORE + 1))
    return counts.reshape(IGNORE + 1, classes)[:classes]


def rows(sample: Sample, prediction: LabelMap) -> dict[str, Any]:
    """One test image at stored size: confusion matrix, flat, boundary F1 of each class, and 1 − its mIoU as severity.

    boundary: null where the class has no border, neither in the truth nor in the prediction.
    """
    truth: NDArray[np.uint8] = sample.semantic  # type: ignore[assignment]
    guess = prediction.scaled(*truth.shape)
    counts = confusion(truth, guess, prediction.classes)
    borders = boundary_f1(truth, guess, prediction.classes).tolist()
    return {
        "confusion": counts.ravel().tolist(),
        "boundary": [None if isnan(value) else value for value in borders],
        "severity": 1 - _mean(_iou(counts)) if counts.any() else 0.0,
    }


def _iou(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union by class; nan where a class is neither there nor predicted."""
    hits = matrix.diagonal()
    with np.errstate(invalid="ignore"):
        return hits / (matrix.sum(axis=0) + matrix.sum(axis=1) - hits)


def _mean(values: NDArray[np.float64]) -> float:
    """Of the values that are defined; nan where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _matrices(table: pa.Table, classes: int) -> NDArray[np.float64]:
    """N×K² pixels; as floats, whose sums are exact below 2^53, so that weighing rows is a matrix product."""
    return table["confusion"].combine_chunks().flatten().to_numpy().reshape(len(table), classes**2).astype(np.float64)


def _borders(table: pa.Table, classes: int) -> NDArray[np.float64]:
    """N×(1+K) boundary F1: the mean over the classes that have one in an image, then each class's; nan where none."""
    flat = table["boundary"].combine_chunks().flatten().cast(pa.float64())
    by_class = flat.to_numpy(zero_copy_only=False).reshape(len(table), classes)
    means = [_mean(row) for row in by_class]
    return np.column_stack([means, by_class])


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function of row counts that gives all scores."""
    classes = settings.semantic_classes
    matrices, borders = _matrices(table, len(classes)), _borders(table, len(classes))

    def score(counts: Counts) -> dict[str, float]:
        matrix = (counts @ matrices).reshape(len(classes), len(classes))
        support, iou = matrix.sum(axis=1), _iou(matrix)
        with np.errstate(invalid="ignore"):
            recall, share = matrix.diagonal() / support, support / support.sum()
            boundary = (counts @ np.nan_to_num(borders)) / (counts @ np.isfinite(borders))
        return {
            "mIoU": _mean(iou),
            "pixel_acc": float((share * np.where(support, recall, 0)).sum()),
            "mean_acc": _mean(recall),
            "fw_IoU": float((share * np.where(support, iou, 0)).sum()),
            "BF1": float(boundary[0]),
            **{f"IoU[{name}]": float(value) for name, value in zip(classes, iou, strict=True)},
            **{f"BF1[{name}]": float(value) for name, value in zip(classes, boundary[1:], strict=True)},
        }

    return score


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """The confusion matrix as shares of each true class's pixels, and the IoU of each class."""
    classes = settings.semantic_classes
    matrix = _matrices(table, len(classes)).sum(axis=0).reshape(len(classes), len(classes))
    iou = _iou(matrix)
    return {
        "confusion": confusion_figure(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), classes),
        "IoU": bars_figure(iou, classes, f"IoU (mean {_mean(iou):.3f})"),
    }


def draw(sample: Sample, prediction: LabelMap, settings: Settings) -> NDArray[np.uint8]:
    """Image, truth, prediction and the pixels that are wrong, as four panels; without truth, image and prediction.

    Below stands what the colours mean.
    """
    pixels, truth = sample.pixels, sample.semantic
    guess = prediction.scaled(*pixels.shape[:2])
    shown_ids = np.setdiff1d(guess if truth is None else [*np.unique(guess), *np.unique(truth)], [IGNORE])
    legend = {settings.semantic_classes[value]: palette()[value] for value in shown_ids}
    if truth is None:
        return panels({"image": pixels, "prediction": overlaid(pixels, guess)}, legend)
    wrong = (guess != truth) & (truth != IGNORE)
    shown = {
        "image": pixels,
        "truth": overlaid(pixels, truth),
        "prediction": overlaid(pixels, guess),
        f"wrong: {wrong.mean():.1%}": np.where(
            wrong[..., None], np.array(RED, np.uint8), images.luminance(pixels)[..., None]
        ),
    }
    return panels(shown, legend)


def answer(sample: Sample, prediction: LabelMap, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it, in the image's own pixels."""
    ids = prediction.scaled(*sample.pixels.shape[:2])
    mask = base64.b64encode(images.encode_png(ids)).decode()
    return {"mask": mask, "classes": list(settings.semantic_classes)}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> LabelMap:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    ids = images.decode_stored(base64.b64decode(answered["mask"]), grey=True)
    return LabelMap(ids, len(settings.semantic_classes))
