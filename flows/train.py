"""Every stale job, trained at once on Ray → models/. Curves appear in MLflow while it runs.

`python -m flows.train JOB… [--force]` trains these jobs, and those they start from, into `.work/jobs/` alone, and
measures them: models/, evaluations/ and dvc.lock stay as they are. The next `make repro` takes up the results of those
that are in the roster.
"""

import argparse
import contextlib
from pathlib import Path
from typing import Any

from flows._jobs import JobRuns
from flows._results import outlook
from flows._run import in_flow, stage
from pipeline.augment import stage as augment_stage
from pipeline.evaluate import stage as evaluate_stage
from pipeline.params import Params
from pipeline.prepare import stage as prepare_stage
from pipeline.terminal import tell
from pipeline.train import stage as train_stage
from pipeline.train.curves import Curves
from pipeline.train.job_state import JobSpec


def run(params: Params, root: Path) -> dict[str, float]:
    """The train stage with its curves; the speed of what was trained goes to reports/speed.json."""
    with contextlib.closing(Watchers(root)) as watchers:
        return train_stage.run(params, root, watchers)


def run_chosen(params: Params, root: Path, names: list[str], *, force: bool) -> dict[str, float]:
    """Train and measure these jobs only; `force` trains also where that was done before."""
    chosen = params.choose(names)
    both = params.model_copy(update={"roster": [*params.selected(), *chosen.selected()]})
    prepare_stage.run(params, root)
    augment_stage.run(both, root)
    with contextlib.closing(Watchers(root)) as watchers:
        times = train_stage.run_chosen(chosen, root, names if force else [], watchers)
    job_specs = train_stage.job_specs(chosen, root)
    evaluate_stage.run_chosen(params, root, [job_specs[name] for name in names])
    tell(f"train: {outlook(names, params.selected())}")
    return times


class Watchers:
    """Hands a job's news to its curves in MLflow and, in a Prefect flow, to its task run."""

    def __init__(self, root: Path) -> None:
        self.all: list[Curves | JobRuns] = [Curves(root), *([JobRuns()] if in_flow() else [])]

    def __call__(self, job_spec: JobSpec, entry: dict[str, Any]) -> None:
        """Take up a job's state."""
        for watcher in self.all:
            watcher(job_spec, entry)

    def close(self) -> None:
        """Training has ended, well or not."""
        for watcher in self.all:
            watcher.close()


def main() -> None:
    """The stage, or the jobs that were named."""
    parser = argparse.ArgumentParser(description="Train every stale job, or chosen ones.")
    parser.add_argument("jobs", nargs="*", help="train and measure these alone, into .work/")
    parser.add_argument("--force", action="store_true", help="also where these were trained before")
    asked = parser.parse_args()
    if asked.jobs:
        stage("train", lambda params, root: run_chosen(params, root, asked.jobs, force=asked.force))
    else:
        stage("train", run)


if __name__ == "__main__":
    main()
