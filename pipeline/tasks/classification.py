"""Classification: one label an image.

Scores: top-1 and top-5 accuracy, mean and per-class recall, negative log-likelihood in nats, and expected
calibration error over 15 equal bins of confidence (Guo et al. 2017, https://arxiv.org/abs/1706.04599).
Every score is sums over rows and one formula, so resampling a test set is multiplying by counts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.sample import Sample
from pipeline.statistics import Counts, Scorer
from pipeline.tasks._images import GREEN, RED, captioned, stack
from pipeline.tasks._learner import Learner, Settings, weights_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: fields that every sample must have, and which of a dataset's class lists the network's outputs index
NEEDS = ("label",)
CLASSES = "classes"
PRIMARY = "top1"
HIGHER_IS_BETTER = True
#: what a served model answers, by name
OUTPUT = {"label": "string", "probabilities": "double[]"}
BINS = 15


class _Classifier(Learner):
    """Cross-entropy on labels or soft labels, also of a network's auxiliary classifiers where it has some."""

    weight: Tensor | None

    def __init__(
        self, network: nn.Module, settings: Settings, smoothing: float, weight: Tensor | None, auxiliary: float
    ) -> None:
        super().__init__(network, settings)
        self.smoothing, self.auxiliary = smoothing, auxiliary
        self.register_buffer("weight", weight, persistent=False)

    def losses(self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor, phase: str) -> dict[str, Tensor]:
        """Mean cross-entropy in nats; targets B labels or B×K soft labels.

        A network with auxiliary classifiers gives a tuple in training, their logits behind its own; the sum of their
        losses is weighed by `auxiliary`.
        """
        logits, *others = outputs if isinstance(outputs, tuple) else (outputs,)
        losses = {"cross_entropy": self._cross_entropy(logits, targets)}
        if others:
            judged = torch.stack([self._cross_entropy(other, targets) for other in others])
            losses["auxiliary"] = self.auxiliary * judged.sum()
        return losses

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        settings: dict[str, Any] = {"weight": self.weight, "label_smoothing": self.smoothing}
        losses = F.cross_entropy(logits.float(), targets, **settings, reduction="none")
        return losses.mean()  # over images, not over weights: parts of a batch must add up

    def predict(self, outputs: Tensor) -> NDArray[np.float32]:
        """B×K class probabilities."""
        return np.asarray(outputs.float().softmax(dim=1).cpu().numpy(), np.float32)


def learner(
    network: nn.Module,
    settings: Settings,
    *,
    label_smoothing: float = 0.0,
    class_weights: Literal["balanced"] | dict[str, float] | None = None,
    auxiliary: float = 0.3,
) -> Learner:
    """A classifier's learner.

    class_weights: what an image of a class counts, by the class's name, 1 where not given; or `balanced`, by the
    inverse of the class's frequency in the train split · auxiliary: the weight of the losses of a network's auxiliary
    classifiers (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842).
    """
    weight = None
    if class_weights == "balanced":
        counts = torch.tensor(settings.class_counts, dtype=torch.float32)
        weight = counts.sum() / (len(counts) * counts.clamp(min=1))
    elif class_weights is not None:
        weight = weights_of(settings.classes, class_weights)
    return _Classifier(network, settings, label_smoothing, weight, auxiliary)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Tensor]:
    """uint8 B×C×H×W and B labels (or B×K soft labels where any sample is mixed)."""
    labels = [sample.label for sample in samples]
    if any(isinstance(label, np.ndarray) for label in labels):
        one_hot = np.eye(len(settings.classes), dtype=np.float32)
        rows = [label if isinstance(label, np.ndarray) else one_hot[label] for label in labels]
        return stack(samples, settings.channels), torch.from_numpy(np.stack(rows))
    return stack(samples, settings.channels), torch.tensor(labels, dtype=torch.int64)


def rows(sample: Sample, prediction: NDArray[np.float32]) -> dict[str, Any]:
    """One test image: its label, the predicted one with its probability, and the rank of the true class from 0."""
    label = int(sample.label)  # type: ignore[arg-type]
    true = float(prediction[label])
    predicted = int(prediction.argmax())
    ahead = int((prediction > true).sum() + (prediction[:label] == true).sum())  # of equals the first, as in argmax
    return {
        "label": label,
        "prediction": predicted,
        "confidence": float(prediction[predicted]),
        "rank": ahead,
        "nll": float(-np.log(max(true, 1e-12))),
        "severity": float(1 - true),
    }


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function of row counts that gives all scores."""
    classes = settings.classes
    label, predicted = table["label"].to_numpy(), table["prediction"].to_numpy()
    rank, nll, confidence = (table[name].to_numpy() for name in ("rank", "nll", "confidence"))
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    correct = label == predicted

    def score(counts: Counts) -> dict[str, float]:
        total = counts.sum()
        support = np.bincount(label, counts, len(classes))
        hits = np.bincount(label, counts * correct, len(classes))
        with np.errstate(invalid="ignore"):
            recall = hits / support
        gaps = np.bincount(bins, counts * (correct - confidence), BINS)
        return {
            "top1": float((counts * correct).sum() / total),
            "top5": float((counts * (rank < 5)).sum() / total),
            "mean_recall": float(np.nanmean(recall)),
            "nll": float((counts * nll).sum() / total),
            "ECE": float(np.abs(gaps).sum() / total),
            **{f"recall[{name}]": float(value) for name, value in zip(classes, recall, strict=True)},
        }

    return score


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """The confusion matrix: rows are true classes, columns predicted ones."""
    from matplotlib.figure import Figure

    classes = settings.classes
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (table["label"].to_numpy(), table["prediction"].to_numpy()), 1)
    side = min(max(4.0, 0.35 * len(classes) + 1.5), 32.0)  # inches
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(classes)), yticks=range(len(classes)))
    axes.set_xticklabels(classes, rotation=0 if max(map(len, classes)) < 4 else 90)
    axes.set_yticklabels(classes)
    if len(classes) <= 30:
        for (row, column), count in np.ndenumerate(matrix):
            dark = count > matrix[row].sum() / 2
            if count:
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=8, color="white" if dark else "black"
                )
    return {"confusion": figure}


def draw(sample: Sample, prediction: NDArray[np.float32], settings: Settings) -> NDArray[np.uint8]:
    """The image with the predicted class and its probability; `6 as 5` where a 6 is known and was taken for a 5."""
    classes, predicted = settings.classes, int(prediction.argmax())
    text = f"{classes[predicted]} {prediction[predicted]:.2f}"
    if sample.label in (None, predicted):
        return captioned(sample.pixels, text, GREEN)
    return captioned(sample.pixels, f"{classes[sample.label]} as {text}", RED)


def answer(sample: Sample, prediction: NDArray[np.float32], settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it."""
    return {
        "label": settings.classes[int(prediction.argmax())],
        "probabilities": [float(value) for value in prediction],
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> NDArray[np.float32]:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    return np.asarray(answered["probabilities"], np.float32)
