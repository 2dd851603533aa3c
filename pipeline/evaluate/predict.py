"""A trained model applied to samples: predictions in batches, and one row per sample of a stored split."""

import dataclasses
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import torch

from pipeline import batches, images, plugins, processes, sample
from pipeline.augment.fit import Fit, restore
from pipeline.geometry.placement import Placement
from pipeline.learners.base import Learner
from pipeline.sample import Sample

#: samples of a batch at most, and pixels of their images together, unless one image has more
BATCH, BATCH_PIXELS = 64, 100_000_000
#: that load images for a device
MOST_THREADS = 8
Predict = Callable[[Sequence[Sample]], Sequence[Any]]
Item = TypeVar("Item")


class Input(NamedTuple):
    """What the network sees of a sample, and where its image lies in that."""

    sample: Sample
    placement: Placement


class BatchPredictor:
    """Predictions of samples by a trained model, without gradients, on the learner's device.

    Images are resized as prepare does, then fitted to the model's input, and predictions are brought back to the given
    images. Derived fields that the model reads are computed if a sample lacks them.
    """

    def __init__(self, learner: Learner, task: str) -> None:
        self.learner, self._task = learner, plugins.load("tasks", task)
        self._fit = Fit(learner.settings.size, learner.settings.fit)
        derived = [(plugins.load("augment.derived", name), options) for name, options in learner.derived.items()]
        self._fields = {derive.FIELD: derive.build(**options) for derive, options in derived}

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Any]:
        """The predictions of one batch."""
        return self.predict([self.load(item) for item in samples])

    def load(self, item: Sample) -> Input:
        """What the network sees of a sample; threads may call it side by side."""
        height, width = item.pixels.shape[:2]
        stored = sample.resized(item, *images.bounded(item.pixels, self.learner.settings.max_side))
        inner, placement = self._fit.forward(_with_fields(stored, self._fields))
        return Input(inner, placement.of(height, width))

    @torch.inference_mode()
    def predict(self, inputs: Sequence[Input]) -> Sequence[Any]:
        """The predictions of one batch that was loaded."""
        batch, targets = self._task.collate([item.sample for item in inputs], self.learner.settings)
        predictions = self.learner.predict_batch(batch.to(self.learner.mean.device), targets)
        pairs = zip(predictions, inputs, strict=True)
        return [restore(self._task, prediction, item.placement) for prediction, item in pairs]


def predictor(learner: Learner, task: str) -> BatchPredictor:
    """A function from samples to predictions."""
    return BatchPredictor(learner, task)


def _with_fields(item: Sample, fields: Mapping[str, Callable[[Sample], Any]]) -> Sample:
    missing = {name: compute(item) for name, compute in fields.items() if getattr(item, name) is None}
    return dataclasses.replace(item, **missing) if missing else item


def in_batches(items: Iterable[Item], pixels: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Items in order, in batches whose images fit in memory; an item is taken when its batch is.

    pixels: of an item's image.
    """
    return batches.bounded(items, pixels, number=BATCH, total=BATCH_PIXELS)


def rows(
    predict: BatchPredictor, stored: Sequence[Sample], task: str, *, keep: int | None = None
) -> tuple[pa.Table, dict[int, Any]]:
    """The split's rows, each with the sample's id and group, and predictions by index.

    Images are loaded by threads while others are predicted. Rows are held as Arrow's columns.

    keep: of how many samples evenly spread over the split, and of how many with the worst mistakes, the predictions are
    kept; by default all are, and take memory that grows with the split.
    """
    module = plugins.load("tasks", task)
    spread = {*range(len(stored))} if keep is None else {*images.spread(len(stored), keep).tolist()}
    tables: list[pa.Table] = []
    predictions: dict[int, Any] = {}
    worst: list[tuple[float, int]] = []
    for indices, samples, inputs in _loaded(predict, stored):
        table: list[dict[str, Any]] = []
        for index, item, prediction in zip(indices, samples, predict.predict(inputs), strict=True):
            table.append({"id": item.id, "group": item.group, **module.rows(item, prediction)})
            predictions[index] = prediction
        tables.append(pa.Table.from_pylist(table))
        mistakes = [(-row["severity"], index) for row, index in zip(table, indices, strict=True)]
        worst = heapq.nsmallest(keep or 0, [*worst, *mistakes])
        shown = {index for _, index in worst}
        predictions = {index: predictions[index] for index in sorted(shown | (spread & predictions.keys()))}
    return concatenated(tables), predictions


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of rows as one, with the types that all rows together have."""
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def _loaded(
    predict: BatchPredictor, stored: Sequence[Sample]
) -> Iterator[tuple[range, tuple[Sample, ...], tuple[Input, ...]]]:
    """A split in batches; while one is worked on, threads load the next."""

    def load(index: int) -> tuple[Sample, Input]:
        item = stored[index]
        return item, predict.load(item)

    with ThreadPoolExecutor(_threads(predict.learner.mean.device)) as threads:
        waiting: deque[tuple[range, Iterator[tuple[Sample, Input]]]] = deque()
        for start in range(0, len(stored), BATCH):
            indices = range(start, min(start + BATCH, len(stored)))
            waiting.append((indices, threads.map(load, indices)))
            if len(waiting) > 1:
                yield _collected(*waiting.popleft())
        while waiting:
            yield _collected(*waiting.popleft())


def _collected(
    indices: range, pairs: Iterable[tuple[Sample, Input]]
) -> tuple[range, tuple[Sample, ...], tuple[Input, ...]]:
    samples, inputs = zip(*pairs, strict=True)
    return indices, samples, inputs


def _threads(device: torch.device) -> int:
    """As many as torch may use, where these have the same work to do; else enough to feed the device."""
    return torch.get_num_threads() if device.type == "cpu" else min(MOST_THREADS, processes.cores())
