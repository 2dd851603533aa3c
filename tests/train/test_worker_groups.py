"""Worker groups of several widths: all jobs end in one run, and a process that does not answer is named."""

import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Params
from pipeline.train import job_queue, loop
from pipeline.train.job_state import JobSpec, JobState, State
from pipeline.train.ranks import Ranks
from tests.helpers import support, worlds

Project = Callable[..., tuple[Path, Params]]
LATE, TIMEOUT_S, BUSY_S = 1, 3, 5


def entries(job_specs: dict[str, JobSpec]) -> dict[str, tuple[str, int]]:
    states = {name: JobState.of(job_spec).read() for name, job_spec in job_specs.items()}
    return {name: (entry["state"], entry["attempts"]) for name, entry in states.items()}


def _busy_first(rank: int, ask: worlds.Asking, job_specs: list[JobSpec], meeting: Path) -> None:
    worlds.meet(rank, meeting)
    train = loop.train

    def late(job_spec: JobSpec, ranks: Ranks, state: State | None = None) -> None:
        train(job_spec, ranks, state)
        if job_spec.name == "0" and (ranks.world == 1 or rank == LATE):
            time.sleep(BUSY_S)

    loop.train = late
    worlds.work(rank, ask, job_specs, timeout=datetime.timedelta(seconds=TIMEOUT_S))


def test_jobs_of_alternating_widths_end_in_one_run(project: Project, tmp_path: Path) -> None:
    """Each starts from the one before, and members come to a job later than a collective would wait for them."""
    jobs: dict[str, dict[str, Any]] = {"0": {"workers": 2, "epochs": 1}}
    for number in range(1, 5):
        before = {"pretrained": {"job": str(number - 1)}}
        jobs[str(number)] = {"workers": 1 + (number + 1) % 2, "seed": number, "epochs": 1, **before}
    root, params = project(jobs)
    job_specs = support.job_specs(root, params)
    worlds.train(_busy_first, list(job_specs.values()), tmp_path / "meeting")
    assert entries(job_specs) == dict.fromkeys(jobs, ("done", 1))


def _stuck(rank: int, ask: worlds.Asking, job_specs: list[JobSpec], meeting: Path) -> None:
    worlds.meet(rank, meeting)
    (meeting.parent / str(rank)).write_text(str(os.getpid()))
    if rank == LATE:
        loop.Trainer.epoch = lambda self: time.sleep(3600)  # type: ignore[method-assign]
    try:
        worlds.work(rank, ask, job_specs, timeout=datetime.timedelta(seconds=TIMEOUT_S))
    except Exception:  # as Ray would, which ends the world
        os._exit(3)


def test_a_process_that_does_not_answer_is_named_within_a_bound(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "ANSWER_S", 2.0)
    root, params = project({"wide": {"workers": 2}})
    job_specs = support.job_specs(root, params)
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="ended with 3"):
        worlds.train(_stuck, list(job_specs.values()), tmp_path / "meeting")
    assert time.monotonic() - started < 60
    entry = JobState.of(job_specs["wide"]).read()
    silent = (tmp_path / str(LATE)).read_text()
    assert entry["reason"].startswith(f"process 2 of 2 (pid {silent}) did not answer in time")
    assert entry["state"] == "waiting"
