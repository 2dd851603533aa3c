"""A trained model over a stored split: one row and, where asked, one prediction a sample."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import torch

from pipeline import plugins, sample
from pipeline.sample import Sample
from pipeline.tasks._learner import Learner

BATCH = 64
Predict = Callable[[Sequence[Sample]], Sequence[Any]]


def predictor(learner: Learner, task: str, device: str = "cpu") -> Predict:
    """A function from stored samples to predictions: scaled to the model's size, batched, without gradient."""
    module, settings = plugins.load("tasks", task), learner.settings

    @torch.inference_mode()
    def predict(samples: Sequence[Sample]) -> Sequence[Any]:
        scaled = [sample.resized(item, settings.size, settings.size) for item in samples]
        images, _ = module.collate(scaled, settings)
        predictions: Sequence[Any] = learner(images.to(device))
        return predictions

    return predict


def rows(predict: Predict, stored: Sequence[Sample], task: str) -> tuple[pa.Table, list[Any]]:
    """The split's rows, each with the sample's id and group, and its predictions."""
    module = plugins.load("tasks", task)
    table, predictions = [], []
    for start in range(0, len(stored), BATCH):
        samples = [stored[index] for index in range(start, min(start + BATCH, len(stored)))]
        for item, prediction in zip(samples, predict(samples), strict=True):
            table.append({"id": item.id, "group": item.group, **module.rows(item, prediction)})
            predictions.append(prediction)
    return pa.Table.from_pylist(table), predictions
