"""Trains all stale jobs at once on Ray → models/. Curves appear in MLflow while it runs.

The process that has trained a job evaluates it, too; the evaluate stage takes that over.
"""

import contextlib
from pathlib import Path
from typing import Any

from flows._jobs import JobRuns
from flows._run import in_flow, stage
from pipeline.evaluate.after_training import Evaluator
from pipeline.params import Params
from pipeline.train import stage as train_stage
from pipeline.train.curves import Curves
from pipeline.train.job_state import JobSpec


def run(params: Params, root: Path) -> dict[str, float]:
    """The train stage with its curves; writes the training speed of each job to reports/speed.json."""
    with contextlib.closing(Watchers(root)) as watchers:
        return train_stage.run(params, root, watchers, Evaluator.of(params, root))


class Watchers:
    """Passes each new job state to its curves in MLflow and, in a Prefect flow, to its task run."""

    def __init__(self, root: Path) -> None:
        self.all: list[Curves | JobRuns] = [Curves(root), *([JobRuns()] if in_flow() else [])]

    def __call__(self, job_spec: JobSpec, entry: dict[str, Any]) -> None:
        """Pass on a job state."""
        for watcher in self.all:
            watcher(job_spec, entry)

    def close(self) -> None:
        """Close all watchers when training has ended or failed."""
        for watcher in self.all:
            watcher.close()


if __name__ == "__main__":
    stage("train", run)
