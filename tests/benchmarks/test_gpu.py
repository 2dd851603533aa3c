"""What one GPU does, tried small on a CPU: it needs little but torch, and every task has finite losses and a score."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu

ROOT = Path(gpu.__file__).parents[1]
ABSENT = ("ray", "mlflow", "prefect", "dvc", "psutil")
START = (
    "import runpy, sys; sys.modules |= dict.fromkeys({names!r}); runpy.run_module('benchmarks.gpu', None, '__main__')"
)


def test_there_is_a_job_for_each_task() -> None:
    from pipeline import params
    from tests.helpers import own_plugins

    jobs = params.read(ROOT / params.FILE).jobs
    assert {jobs[name].task for name in gpu.JOBS} == set(own_plugins.shipped("tasks"))


def test_the_first_piece_of_work_is_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 13.0, 20.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert gpu._seconds(range(3)) == (10.0, 7.0)


@pytest.mark.slow
def test_it_runs_without_the_services(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START.format(names=ABSENT), "--small"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("| finite |") == 9
    assert "training, an epoch from the start of its loader" in done.stdout
