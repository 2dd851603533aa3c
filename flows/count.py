"""Parameters, multiply-adds, memory and receptive fields → reports/parameters.json."""

from pathlib import Path

from flows._run import stage
from pipeline.count import stage as count_stage
from pipeline.params import Params
from pipeline.train import checks


def run(params: Params, root: Path) -> None:
    """Check all jobs, then count: this stage runs before those that start Ray."""
    checks.check(params, root)
    count_stage.run(params, root)


if __name__ == "__main__":
    stage("count", run)
