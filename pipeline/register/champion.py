"""Compare the best candidate with the champion.

Candidates are ranked on val, and only the first is compared with the champion on test. The champion predicts in its own
process through its MLflow model; the difference of the primary score is tested by paired bootstrap over the same
images. The champion is replaced only if the whole 95 % interval favours the challenger.
"""

import contextlib
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import bootstrap, images, plugins, scores, shards, tracking
from pipeline.errors import UserError
from pipeline.evaluate import predict
from pipeline.learners.base import Learner, Settings
from pipeline.shards import Shards

RESAMPLES, SEED = 2000, 0


def decide(challenger: pa.Table, champion: pa.Table, task: str, settings: Settings, **arguments: Any) -> dict[str, Any]:
    """Compare two models' rows of the same test images, with `arguments` for the scorer: `promoted`, and the reason.

    Where the score of one is undefined, neither wins. UserError if the task can't compare the rows, such as those
    measured by two extractors.
    """
    module = plugins.load("tasks", task)
    if hasattr(module, "comparable"):
        module.comparable([challenger, champion])
    ours, theirs = (module.scorer(table, settings, **arguments) for table in (challenger, champion))
    groups = challenger["group"].to_pylist()
    metric, everything = module.PRIMARY, np.ones(len(groups), np.int64)
    totals = [scorer(everything) for scorer in (ours, theirs)]
    if not all(math.isfinite(total[bootstrap.primary(metric, total)]) for total in totals):
        text = f"is not compared with the champion: {metric} undefined: {scores.reason(task, metric, 'test')}"
        return {"promoted": False, "metric": metric, "text": text}
    interval = bootstrap.paired(ours, theirs, groups, metric, number=RESAMPLES, seed=SEED)
    promoted = interval["low"] > 0 if module.HIGHER_IS_BETTER else interval["high"] < 0
    numbers = {name: round(value, 6) for name, value in interval.items()}
    verb = "replaces the champion" if promoted else "does not replace the champion"
    text = (
        f"{verb}: {metric} differs by {numbers['difference']:+.4f} "
        f"(95 % interval {numbers['low']:+.4f} to {numbers['high']:+.4f}) on {len(groups)} test images"
    )
    return {"promoted": promoted, "metric": metric, "text": text, **numbers}


def rows(
    root: Path, dataset: str, task: str, model_uri: str, settings: Settings, extractor: Learner | None = None
) -> pa.Table:
    """The rows of the test split from a registered model's own answers; measured by `extractor` if there is one."""
    stored = shards.split(root / "data/prepared" / dataset, "test")
    module = plugins.load("tasks", task)
    tables = []
    with _answers(root, stored, model_uri) as answers:
        pairs = zip(stored, answers, strict=True)
        while batch := list(itertools.islice(pairs, predict.BATCH)):
            samples = [item for item, _ in batch]
            predictions = [module.prediction(item, answer, settings) for item, answer in batch]
            if extractor is not None:
                predictions = module.measured(predictions, samples, extractor, settings)
            made = zip(samples, predictions, strict=True)
            table = [{"id": item.id, "group": item.group, **module.rows(item, prediction)} for item, prediction in made]
            tables.append(pa.Table.from_pylist(table))
    return predict.concatenated(tables)


@contextlib.contextmanager
def _answers(root: Path, stored: Shards, model_uri: str) -> Iterator[Iterator[dict[str, Any]]]:
    """A registered model's answers, one per sample, as long as the block runs."""
    script = Path(__file__).with_name("answers.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        images_file, answers_file = Path(folder) / "images.parquet", Path(folder) / "answers.jsonl"
        _write_images(images_file, stored)
        command = [
            sys.executable,
            "-P",
            str(script),
            tracking.uri(root),
            model_uri,
            str(images_file),
            str(answers_file),
        ]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(
                f"register: {model_uri} exited with code {done.returncode}; its last output: {done.stderr[-1500:]}"
            )
        with answers_file.open(encoding="utf-8") as lines:
            yield map(json.loads, lines)


def _write_images(path: Path, stored: Shards) -> None:
    """The samples' images as PNG bytes in the column `image`, a batch in each group of rows."""
    schema = pa.schema([("image", pa.binary())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(stored), predict.BATCH):
            indices = range(start, min(start + predict.BATCH, len(stored)))
            encoded = [images.encode_png(stored[index].pixels) for index in indices]
            writer.write_table(pa.table({"image": encoded}, schema))
