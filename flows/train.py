"""Trains all stale jobs at once on Ray → models/. Curves appear in MLflow while it runs.

`python -m flows.train JOB… [--force]` trains these jobs, and those they start from, into `.work/jobs/` only, and
evaluates them: models/, evaluations/ and dvc.lock stay unchanged. The next `make repro` uses the results of those that
are in the roster.
"""

import argparse
import contextlib
import logging
from pathlib import Path
from typing import Any

from flows._jobs import JobRuns
from flows._results import next_run_message
from flows._run import in_flow, stage
from pipeline.augment import stage as augment_stage
from pipeline.evaluate import stage as evaluate_stage
from pipeline.params import Params
from pipeline.prepare import stage as prepare_stage
from pipeline.train import stage as train_stage
from pipeline.train.curves import Curves
from pipeline.train.job_state import JobSpec

#: its `__name__` is `__main__` where it is run
log = logging.getLogger("flows.train")


def run(params: Params, root: Path) -> dict[str, float]:
    """The train stage with its curves; writes the training speed of each job to reports/speed.json."""
    with contextlib.closing(Watchers(root)) as watchers:
        return train_stage.run(params, root, watchers)


def run_chosen(params: Params, root: Path, names: list[str], *, force: bool) -> dict[str, float]:
    """Train and evaluate these jobs only; `force` trains up-to-date ones again."""
    chosen = params.choose(names)
    both = params.model_copy(update={"roster": [*params.selected(), *chosen.selected()]})
    prepare_stage.run(params, root)
    augment_stage.run(both, root)
    with contextlib.closing(Watchers(root)) as watchers:
        times = train_stage.run_chosen(chosen, root, names if force else [], watchers)
    job_specs = train_stage.job_specs(chosen, root)
    evaluate_stage.run_chosen(params, root, [job_specs[name] for name in names])
    log.info(f"train: {next_run_message(names, params.selected())}")
    return times


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


def main() -> None:
    """Run the stage, or train the named jobs."""
    parser = argparse.ArgumentParser(description="Train every stale job, or chosen ones.")
    parser.add_argument("jobs", nargs="*", help="train and evaluate only these, into .work/")
    parser.add_argument("--force", action="store_true", help="train them again if they are up to date")
    arguments = parser.parse_args()
    if arguments.jobs:
        stage("train", lambda params, root: run_chosen(params, root, arguments.jobs, force=arguments.force))
    else:
        stage("train", run)


if __name__ == "__main__":
    main()
