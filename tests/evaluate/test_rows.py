"""Rows that are made batch by batch are, to the byte, those that were made as one list; for every task."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline import checkpoint, plugins, sample, shards
from pipeline.augment import joined
from pipeline.evaluate import predict
from pipeline.train.job_state import JobSpec
from tests.helpers import few_digits
from tests.train import golden

BATCH, IMAGES = 6, 16


@pytest.fixture(scope="module")
def job_specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, JobSpec]:
    with few_digits.only(200):
        return golden.prepare(tmp_path_factory.mktemp("rows"))


def as_one_list(ask: Any, stored: Any, task: Any) -> tuple[pa.Table, dict[int, Any]]:
    """The plain way: all rows as one list of Python values, and all predictions."""
    rows, predictions = list[dict[str, Any]](), dict[int, Any]()
    for start in range(0, len(stored), BATCH):
        samples = [stored[index] for index in range(start, min(start + BATCH, len(stored)))]
        for item, prediction in zip(samples, ask(samples), strict=True):
            predictions[len(rows)] = prediction
            rows.append({"id": item.id, "group": item.group, **task.rows(item, prediction)})
    return pa.Table.from_pylist(rows), predictions


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@pytest.mark.parametrize("task", golden.JOBS)
def test_rows_and_scores_are_those_of_one_list(
    task: str, job_specs: dict[str, JobSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "BATCH", BATCH)
    job_spec, module = job_specs[task], plugins.load("tasks", task)
    facts = sample.facts(job_spec.prepared)
    torch.manual_seed(1)
    learner = checkpoint.build(checkpoint.describe(job_spec.job, facts, joined.options(job_spec.derived))).eval()
    few = shards.split(job_spec.prepared, "val")
    shards.copy_rows(few, [index % len(few) for index in range(IMAGES)], tmp_path / "few-00000.arrow")
    stored = shards.split(tmp_path, "few")
    ask = predict.predictor(learner, task)
    expected, predictions = as_one_list(ask, stored, module)
    table, kept = predict.rows(ask, stored, task, keep=2)
    assert len(table) == len(stored) > 2 * BATCH
    assert table.schema.equals(expected.schema)
    assert parquet(table) == parquet(expected)
    assert 2 <= len(kept) <= 4
    assert set(kept) < set(predictions)
    ones = np.ones(len(table), np.int64)
    scores, reference = (module.scorer(rows, learner.settings)(ones) for rows in (table, expected))
    np.testing.assert_equal(scores, reference)


def test_a_column_that_begins_without_values_has_the_type_of_later_ones() -> None:
    first = [{"boundary": [None, None], "guess": None, "boxes": [], "severity": 0}]
    second = [{"boundary": [None, 0.5], "guess": 3, "boxes": [[1.0, 2.0]], "severity": 0.5}]
    table = predict.concatenated([pa.Table.from_pylist(first), pa.Table.from_pylist(second)])
    assert table.equals(pa.Table.from_pylist(first + second))
    assert parquet(table) == parquet(pa.Table.from_pylist(first + second))


def test_the_next_batch_is_loaded_while_one_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more than that, so that memory does not grow with the split."""
    monkeypatch.setattr(predict, "BATCH", 4)
    loaded: list[int] = []

    class Stored(list[int]):
        def __getitem__(self, index: Any) -> Any:
            loaded.append(index)
            return index

    class Ask:
        learner = type("Learner", (), {"mean": torch.zeros(1)})

        def load(self, item: int) -> int:
            return -item

    batches: Any = predict._loaded(Ask(), Stored(range(14)))  # type: ignore[arg-type]
    indices, samples, inputs = next(batches)
    assert ([*indices], [*samples], [*inputs]) == ([0, 1, 2, 3], [0, 1, 2, 3], [0, -1, -2, -3])
    assert max(loaded) < 8
    assert [[*samples] for _, samples, _ in batches] == [[4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]
