"""Classification: one label per image.

Scores: top-1 and top-5 accuracy, mean and per-class recall, negative log-likelihood in nats, and expected
calibration error over 15 equal bins of confidence (Guo et al. 2017, https://arxiv.org/abs/1706.04599).
Every score is a formula of sums over rows, so a resample of the test set is a vector of row counts.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.bootstrap import Counts, Scorer
from pipeline.learners.base import Learner, Settings
from pipeline.learners.baseline import Baseline
from pipeline.learners.batch import stack
from pipeline.learners.classifier import Classifier, weights_by_class
from pipeline.plots.classification import draw as draw
from pipeline.plots.classification import figures as figures
from pipeline.sample import Facts, Sample
from pipeline.shards import Shards

#: fields that every sample must have, and the dataset's class list that the network's outputs index
NEEDS = ("label",)
CLASSES = "classes"
PRIMARY = "top1"
GIVES = "values"
HIGHER_IS_BETTER = True
ROWS_SEE_IMAGES = False
#: fields of a served answer
OUTPUT = {"label": "string", "probabilities": "double[]"}
#: what the report says of each score
MEANINGS = {
    "top1": "fraction of images whose most probable class is correct",
    "top5": "fraction of images whose correct class is among the five most probable",
    "mean_recall": "recall of each class, averaged over classes, so that rare classes count as much as common ones",
    "nll": "mean negative log-likelihood of the correct class, in nats; lower is better",
    "ECE": "expected calibration error: mean difference between confidence and accuracy; 0 is best",
    "recall": "fraction of a class’s images that are classified correctly",
}
#: the smallest and largest value of each score; "" stands for all that are not named
BOUNDS = {"": (0, 1), "nll": (0, None)}
#: what a split lacks where a score is undefined
UNDEFINED = {"": "no image", "recall": "no image of the class"}
BINS = 15


def learner(
    network: nn.Module,
    settings: Settings,
    *,
    label_smoothing: float = 0.0,
    class_weights: Literal["balanced"] | dict[str, float] | None = None,
    auxiliary: float = 0.3,
) -> Learner:
    """The learner of a classifier.

    Args:
        network: gives logits B×K.
        settings: classes and image scaling.
        label_smoothing: of the cross-entropy.
        class_weights: weight of an image in the loss by its class's name, 1 by default; or `balanced`: inverse to the
            class's frequency in the train split.
        auxiliary: weight of the losses of a network's auxiliary classifiers (Szegedy et al. 2015,
            https://arxiv.org/abs/1409.4842).
    """
    weight = weights_by_class(settings, class_weights)
    return Classifier(network, settings, label_smoothing, weight, auxiliary)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Tensor]:
    """uint8 images B×C×H×W and B labels, or B×K soft labels if any sample is mixed."""
    labels = [sample.label for sample in samples]
    if any(isinstance(label, np.ndarray) for label in labels):
        one_hot = np.eye(len(settings.classes), dtype=np.float32)
        rows = [label if isinstance(label, np.ndarray) else one_hot[label] for label in labels]
        return stack(samples, settings.channels), torch.from_numpy(np.stack(rows))
    return stack(samples, settings.channels), torch.tensor(labels, dtype=torch.int64)


def rows(sample: Sample, prediction: NDArray[np.float32]) -> dict[str, Any]:
    """The row of one image: label, predicted label with its probability, and the rank of the true class from 0."""
    label = int(sample.label)  # type: ignore[arg-type]
    true = float(prediction[label])
    predicted = int(prediction.argmax())
    # the first of equal probabilities ranks first, as in argmax
    rank = int((prediction > true).sum() + (prediction[:label] == true).sum())
    return {
        "label": label,
        "prediction": predicted,
        "confidence": float(prediction[predicted]),
        "rank": rank,
        "nll": float(-np.log(max(true, 1e-12))),
        "severity": 0.0 if predicted == label else float(1 - true),
    }


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function from row counts to all scores."""
    classes = settings.classes
    label, predicted = table["label"].to_numpy(), table["prediction"].to_numpy()
    rank, nll, confidence = (table[name].to_numpy() for name in ("rank", "nll", "confidence"))
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    correct = label == predicted

    def score(counts: Counts) -> dict[str, float]:
        total = counts.sum()
        support = np.bincount(label, counts, len(classes))
        true_positives = np.bincount(label, counts * correct, len(classes))
        with np.errstate(invalid="ignore"):
            recall = true_positives / support
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


def baseline(train: Shards, settings: Settings) -> Baseline:
    """The most frequent class of the train split, with the frequencies of all as probabilities."""
    counts = np.array(settings.class_counts, np.float32)
    frequencies = counts / counts.sum()
    return Baseline(f"always {settings.classes[int(counts.argmax())]}", lambda _: frequencies)


def missing(facts: Facts, train: Sequence[Sample]) -> str | None:
    """What the train split lacks, so that nothing can be learnt from it: images of a second class."""
    present = [name for name, count in zip(facts.classes, facts.class_counts, strict=True) if count]
    return None if len(present) > 1 else f"no image of a second class beside {', '.join(present) or 'none'}"


def answer(sample: Sample, prediction: NDArray[np.float32], settings: Settings) -> dict[str, Any]:
    """The served answer for one image, with the fields of OUTPUT."""
    return {
        "label": settings.classes[int(prediction.argmax())],
        "probabilities": [float(value) for value in prediction],
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> NDArray[np.float32]:
    """The prediction of a served answer, to score a served model by the current code."""
    return np.asarray(answered["probabilities"], np.float32)
