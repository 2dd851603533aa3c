"""The score of a task's trivial baseline on the test images of a job, which gives the job's score a scale."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import bootstrap, plugins, shards
from pipeline.learners.base import Settings

FILE = "baseline.json"


def measure(
    task_name: str, prepared: Path, settings: Settings, asked: Mapping[str, Any], *, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Title, metric, value and the ends of the interval; None where the task has no baseline, or it has no score."""
    task = plugins.load("tasks", task_name)
    if not hasattr(task, "baseline"):
        return None
    baseline = task.baseline(shards.split(prepared, "train"), settings)
    test = shards.split(prepared, "test")
    rows = []
    for index in range(len(test)):
        item = test[index] if baseline.sees_images else test.blank(index)
        rows.append({"id": item.id, "group": item.group, **task.rows(item, baseline.predict(item))})
    table = pa.Table.from_pylist(rows)
    scorer = task.scorer(table, settings, **asked)
    values = scorer(np.ones(len(table), np.int64))
    metric = bootstrap.primary(task.PRIMARY, values)
    if not np.isfinite(values[metric]):
        return None
    drawn = bootstrap.resample_scores(scorer, table["group"].to_pylist(), number=resamples, seed=seed)
    low, high = bootstrap.intervals(drawn).get(metric, (values[metric], values[metric]))
    ends = {"low": min(low, values[metric]), "high": max(high, values[metric])}
    return {"title": baseline.title, "metric": metric, "value": values[metric], **ends}
