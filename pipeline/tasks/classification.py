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

from pipeline.bootstrap import Counts, Scorer
from pipeline.learners.base import Learner, Settings, weights_of
from pipeline.learners.batch import stack
from pipeline.learners.classifier import Classifier
from pipeline.plots.classification import draw as draw
from pipeline.plots.classification import figures as figures
from pipeline.sample import Sample

if TYPE_CHECKING:
    pass

#: fields that every sample must have, and which of a dataset's class lists the network's outputs index
NEEDS = ("label",)
CLASSES = "classes"
PRIMARY = "top1"
HIGHER_IS_BETTER = True
#: what a served model answers, by name
OUTPUT = {"label": "string", "probabilities": "double[]"}
BINS = 15


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
    return Classifier(network, settings, label_smoothing, weight, auxiliary)


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


def answer(sample: Sample, prediction: NDArray[np.float32], settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it."""
    return {
        "label": settings.classes[int(prediction.argmax())],
        "probabilities": [float(value) for value in prediction],
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> NDArray[np.float32]:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    return np.asarray(answered["probabilities"], np.float32)
