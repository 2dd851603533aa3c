"""Test images whose label is probably wrong, by the predictions of several classifiers.

An image's rows hold only the confidence of the class that each classifier predicts. The mean confidence over the
classifiers that predict a class is therefore a lower bound of the ensemble's mean probability of that class. Above one
half, no other class can have more. Such images are often mislabelled: Northcutt, Athalye, Mueller: Pervasive Label
Errors in Test Sets, NeurIPS 2021, https://arxiv.org/abs/2103.14749.

An ensemble that is often wrong says nothing about a label, so it must be right on most of these very images. It never
doubts a label unless two thirds of its classifiers agree, since a confidence is at most 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

#: smallest ensemble probability that is reported; at least one half, see above
MIN_PROBABILITY = 2 / 3
#: smallest fraction of test images on which an ensemble is right that may doubt a label
MIN_ACCURACY = 0.8


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A test image, by its index in the split, that the ensemble predicts to be of another class than its label.

    probability: lower bound of the ensemble's mean probability of the predicted class.
    """

    index: int
    label: int
    predicted: int
    probability: float


def find_label_issues(tables: Sequence[pa.Table]) -> list[LabelIssue] | str:
    """Label issues by the rows of classifiers on the same images, most probable first; or why no label is doubted."""
    if len(tables) < 2:
        return "that takes two classifiers or more"
    labels = tables[0]["label"].to_numpy()
    predictions, confidences = (
        np.stack([table[name].to_numpy() for table in tables]) for name in ("prediction", "confidence")
    )
    bounds = np.stack([np.where(predictions == own, confidences, 0).mean(axis=0) for own in predictions])
    predicted, probability = predictions[bounds.argmax(axis=0), np.arange(len(labels))], bounds.max(axis=0)
    accuracy = (predicted == labels).mean()
    if accuracy < MIN_ACCURACY:
        return f"their ensemble is right on {accuracy:.0%} of the test images, and {MIN_ACCURACY:.0%} are needed"
    indices = np.flatnonzero((predicted != labels) & (probability >= MIN_PROBABILITY))
    ordered = indices[np.argsort(-probability[indices], kind="stable")]
    return [LabelIssue(int(i), int(labels[i]), int(predicted[i]), float(probability[i])) for i in ordered]
