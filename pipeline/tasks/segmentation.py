"""Segmentation: one class a pixel.

Scores: mean intersection over union, pixel and mean class accuracy and frequency-weighted IoU (Long et al. 2015,
https://arxiv.org/abs/1411.4038), and each class's IoU. A row holds its image's confusion matrix at stored size and
scores come from the sum of matrices over the data set: mIoU is no mean over images, void pixels (255) count nowhere,
and a class that is neither there nor predicted is skipped. (That is torchmetrics' JaccardIndex; its MeanIoU, a mean
over images, is another quantity.) Losses: cross-entropy, focal (Lin et al. 2017, https://arxiv.org/abs/1708.02002)
and soft Dice (Milletari et al. 2016, https://arxiv.org/abs/1606.04797).
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import images
from pipeline.errors import UserError
from pipeline.models._blocks import centre
from pipeline.sample import IGNORE, Sample
from pipeline.statistics import Counts, Scorer
from pipeline.tasks._images import RED, bars_figure, confusion_figure, overlaid, panels, stack
from pipeline.tasks._learner import Learner, Settings, weights_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: fields that every sample must have, and which of a dataset's class lists the network's outputs index
NEEDS = ("semantic",)
CLASSES = "semantic_classes"
PRIMARY = "mIoU"
HIGHER_IS_BETTER = True
#: what a served model answers, by name: base64 of a PNG whose grey values are ids, and the ids' names
OUTPUT = {"mask": "string", "classes": "string[]"}


@dataclass(frozen=True, slots=True)
class LabelMap:
    """A prediction: ids H×W uint8, at the network's size or an image's own, each below `classes`."""

    ids: NDArray[np.uint8]
    classes: int

    def scaled(self, height: int, width: int) -> NDArray[np.uint8]:
        """The ids at height×width, each pixel as its nearest."""
        return images.resize(self.ids, height, width, smooth=False)


class _Segmenter(Learner):
    """A loss at each pixel that is not void; a network that sees only its image's middle learns from that."""

    weight: Tensor

    def __init__(
        self, network: nn.Module, settings: Settings, weight: Tensor, dice: float, focal: float, *, border: bool
    ) -> None:
        super().__init__(network, settings)
        self.dice, self.focal, self.border = dice, focal, border
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, images: Tensor, targets: Any = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: a LabelMap an image, of all of it where the network has `whole`."""
        if targets is not None:
            return super().forward(images, targets, phase)
        run = getattr(self.network, "whole", self.network)
        return self.predict(run(self.normalise(images)))

    def losses(self, outputs: Tensor, targets: Any, phase: str) -> dict[str, Tensor]:
        """Mean losses of logits B×K×h×w against ids B×H×W, of which only the middle is used where h < H."""
        ids, border = targets if isinstance(targets, tuple) else (targets, None)
        logits, truth = outputs.float(), centre(ids, outputs)
        weight = self.weight[truth.where(truth != IGNORE, 0)]
        if self.border:
            weight = weight + centre(border, outputs)
        found = {"focal" if self.focal else "cross_entropy": self._by_pixel(logits, truth, weight)}
        if self.dice:
            found["dice"] = self.dice * _dice(logits, truth)
        return found

    def _by_pixel(self, logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Weighted nats a pixel; void ones count as 0, so that parts of a batch add up and no batch gives nan."""
        nats = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="none")
        if self.focal:
            # a power below 1 has no slope at 0, which is what void and certain pixels would give
            weight = weight * (-torch.expm1(-nats)).clamp(min=1e-6) ** self.focal
        return (weight * nats).mean()

    def predict(self, outputs: Tensor) -> list[LabelMap]:
        """The likeliest class of every pixel."""
        ids = outputs.argmax(dim=1).to(torch.uint8).cpu().numpy()
        return [LabelMap(item, outputs.shape[1]) for item in ids]


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 − soft Dice, averaged over the classes that an image shows, then over images; 0 for one that is all void."""
    known = (truth != IGNORE)[..., None]
    right = F.one_hot(truth.where(known[..., 0], 0), logits.shape[1]) * known
    guess = logits.softmax(1).movedim(1, -1) * known
    area = right.sum((1, 2))
    dice = (2 * (guess * right).sum((1, 2)) + 1) / (guess.sum((1, 2)) + area + 1)
    shown = (area > 0).float()
    return (((1 - dice) * shown).sum(1) / shown.sum(1).clamp(min=1)).mean()


def learner(
    network: nn.Module,
    settings: Settings,
    *,
    class_weights: dict[str, float] | None = None,
    dice: float = 0.0,
    focal: float = 0.0,
    border_weights: bool = False,
) -> Learner:
    """A segmenter's learner.

    class_weights: what a pixel of a class counts, by the class's name; 1 where not given · dice: weight of the soft
    Dice loss that is added · focal: the power of 1 − p by which certain pixels count less · border_weights: whether the
    sample's weights, derived by border_weights, are added to those of the classes.
    """
    classes = settings.semantic_classes
    if len(classes) > IGNORE:
        raise UserError(f"{len(classes)} semantic classes are too many; {IGNORE} are possible, for ids are bytes")
    weight = weights_of(classes, class_weights or {})
    return _Segmenter(network, settings, weight, dice, focal, border=border_weights)


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
    """One test image: its confusion matrix at stored size, flat, and 1 − mIoU of the image alone as severity."""
    truth: NDArray[np.uint8] = sample.semantic  # type: ignore[assignment]
    counts = confusion(truth, prediction.scaled(*truth.shape), prediction.classes)
    return {"confusion": counts.ravel().tolist(), "severity": 1 - _mean(_iou(counts)) if counts.any() else 0.0}


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


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function of row counts that gives all scores."""
    classes = settings.semantic_classes
    matrices = _matrices(table, len(classes))

    def score(counts: Counts) -> dict[str, float]:
        matrix = (counts @ matrices).reshape(len(classes), len(classes))
        support, iou = matrix.sum(axis=1), _iou(matrix)
        with np.errstate(invalid="ignore"):
            recall, share = matrix.diagonal() / support, support / support.sum()
        return {
            "mIoU": _mean(iou),
            "pixel_acc": float((share * np.where(support, recall, 0)).sum()),
            "mean_acc": _mean(recall),
            "fw_IoU": float((share * np.where(support, iou, 0)).sum()),
            **{f"IoU[{name}]": float(value) for name, value in zip(classes, iou, strict=True)},
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
    """Image, truth, prediction and the pixels that are wrong, as four panels; without truth, image and prediction."""
    pixels, truth = sample.pixels, sample.semantic
    guess = prediction.scaled(*pixels.shape[:2])
    if truth is None:
        return panels({"image": pixels, "prediction": overlaid(pixels, guess)})
    wrong = (guess != truth) & (truth != IGNORE)
    shown = {
        "image": pixels,
        "truth": overlaid(pixels, truth),
        "prediction": overlaid(pixels, guess),
        f"wrong: {wrong.mean():.1%}": np.where(
            wrong[..., None], np.array(RED, np.uint8), images.luminance(pixels)[..., None]
        ),
    }
    return panels(shown)


def answer(sample: Sample, prediction: LabelMap, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it, in the image's own pixels."""
    ids = prediction.scaled(*sample.pixels.shape[:2])
    mask = base64.b64encode(images.encode_png(ids)).decode()
    return {"mask": mask, "classes": list(settings.semantic_classes)}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> LabelMap:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    ids = images.decode_stored(base64.b64decode(answered["mask"]), grey=True)
    return LabelMap(ids, len(settings.semantic_classes))
