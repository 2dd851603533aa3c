"""A trained model applied to a stored split: one row and one prediction per sample."""

import dataclasses
import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from pipeline import images, plugins, sample
from pipeline.augment.fit import Fit, restore
from pipeline.learners.base import Learner
from pipeline.sample import Sample

BATCH = 64
Predict = Callable[[Sequence[Sample]], Sequence[Any]]


def predictor(learner: Learner, task: str) -> Predict:
    """A function from samples to predictions, without gradients, on the learner's device.

    Images are resized as prepare does, then fitted to the model's input, and predictions are brought back to the given
    images. Derived fields that the model reads are computed if a sample lacks them.
    """
    module, settings = plugins.load("tasks", task), learner.settings
    fit = Fit(settings.size, settings.fit)
    derived = [(plugins.load("augment.derived", name), options) for name, options in learner.derived.items()]
    fields = {derive.FIELD: derive.build(**options) for derive, options in derived}

    @torch.inference_mode()
    def predict(samples: Sequence[Sample]) -> Sequence[Any]:
        shapes = [images.bounded(item.pixels, settings.max_side) for item in samples]
        stored = [sample.resized(item, *shape) for item, shape in zip(samples, shapes, strict=True)]
        complete = [_with_fields(item, fields) for item in stored]
        inputs, placements = zip(*map(fit.forward, complete), strict=True)
        batch, targets = module.collate(inputs, settings)
        predictions = learner.predict_batch(batch.to(learner.mean.device), targets)
        placed = zip(samples, predictions, placements, strict=True)
        return [restore(module, each, placement.of(*item.pixels.shape[:2])) for item, each, placement in placed]

    return predict


def _with_fields(item: Sample, fields: Mapping[str, Callable[[Sample], Any]]) -> Sample:
    missing = {name: compute(item) for name, compute in fields.items() if getattr(item, name) is None}
    return dataclasses.replace(item, **missing) if missing else item


def rows(
    predict: Predict, stored: Sequence[Sample], task: str, *, keep: int | None = None
) -> tuple[pa.Table, dict[int, Any]]:
    """The split's rows, each with the sample's id and group, and predictions by index.

    keep: of how many samples evenly spread over the split, and of how many with the worst mistakes, the predictions are
    kept; by default all are, and take memory that grows with the split.
    """
    module = plugins.load("tasks", task)
    spread = {*range(len(stored))} if keep is None else {*images.spread(len(stored), keep).tolist()}
    table: list[dict[str, Any]] = []
    predictions: dict[int, Any] = {}
    worst: list[int] = []
    for start in range(0, len(stored), BATCH):
        indices = range(start, min(start + BATCH, len(stored)))
        samples = [stored[index] for index in indices]
        for index, item, prediction in zip(indices, samples, predict(samples), strict=True):
            table.append({"id": item.id, "group": item.group, **module.rows(item, prediction)})
            predictions[index] = prediction
        worst = heapq.nsmallest(keep or 0, [*worst, *indices], key=lambda index: -table[index]["severity"])
        predictions = {index: predictions[index] for index in sorted({*worst, *spread & predictions.keys()})}
    return pa.Table.from_pylist(table), predictions
