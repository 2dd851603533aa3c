"""A trained model applied to a stored split: one row and one prediction per sample."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from pipeline import images, plugins, sample
from pipeline.learners.base import Learner
from pipeline.sample import Sample

BATCH = 64
Predict = Callable[[Sequence[Sample]], Sequence[Any]]


def predictor(learner: Learner, task: str, device: str = "cpu") -> Predict:
    """A function from samples to predictions, without gradients.

    Images are resized as prepare does, then to the model's size. Derived fields that the model reads are computed if a
    sample lacks them.
    """
    module, settings = plugins.load("tasks", task), learner.settings
    derived = [(plugins.load("augment.derived", name), options) for name, options in learner.derived.items()]
    fields = {derive.FIELD: derive.build(**options) for derive, options in derived}

    @torch.inference_mode()
    def predict(samples: Sequence[Sample]) -> Sequence[Any]:
        shapes = [images.bounded(item.pixels, settings.max_side) for item in samples]
        stored = [sample.resized(item, *shape) for item, shape in zip(samples, shapes, strict=True)]
        complete = [_with_fields(item, fields) for item in stored]
        scaled = [sample.resized(item, settings.size, settings.size) for item in complete]
        batch, targets = module.collate(scaled, settings)
        predictions: Sequence[Any] = learner.predict_batch(batch.to(device), targets)
        return predictions

    return predict


def _with_fields(item: Sample, fields: Mapping[str, Callable[[Sample], Any]]) -> Sample:
    missing = {name: compute(item) for name, compute in fields.items() if getattr(item, name) is None}
    return dataclasses.replace(item, **missing) if missing else item


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
