"""A job's state file, and the lock that says that a job is in training."""

import fcntl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Params
from pipeline.train.job_state import JobState, held, hold, reopen
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]


def test_a_job_is_in_training_while_its_lock_is_held(tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert not held(work)
    with hold(work):
        assert held(work)
        assert held(work)
    assert not held(work)


def test_who_looks_does_not_stand_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is taken while an observer stands in the middle of its look, and another looks meanwhile."""
    (tmp_path / "lock").touch()
    looks, seen = threading.Event(), threading.Event()
    lock = fcntl.flock

    def slowly(file: Any, how: int) -> None:
        lock(file, how)
        if threading.current_thread() is observer:
            looks.set()
            seen.wait(60)

    monkeypatch.setattr(fcntl, "flock", slowly)
    observer = threading.Thread(target=held, args=(tmp_path,))
    observer.start()
    assert looks.wait(60)
    assert not held(tmp_path)
    threading.Timer(0.2, seen.set).start()
    started = time.monotonic()
    with hold(tmp_path):
        assert time.monotonic() - started > 0.1
    observer.join()


def test_reopening_gives_fresh_attempts(project: Project) -> None:
    root, params = project({"a": {}})
    order = support.job_specs(root, params)["a"]
    order.work.mkdir(parents=True)
    JobState.of(order).note(state="failed", attempts=3, reason="bad", final=True)
    reopen(order)
    entry = JobState.of(order).read()
    assert (entry["state"], entry["attempts"], entry["reason"], entry["final"]) == ("waiting", 0, None, False)
