"""Who may train a job, and how often."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Params
from pipeline.train.job_state import JobState, claim, held, reopen
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]


def test_a_claimed_job_is_taken(project: Project) -> None:
    root, params = project({"a": {}})
    order = support.job_specs(root, params)["a"]
    first = claim(order, 3)
    assert first is not None
    assert claim(order, 3) is None
    first.close()
    assert not held(order.work)
    again = claim(order, 3)
    assert again is not None
    assert held(order.work)
    again.close()
    assert JobState.of(order).read()["attempts"] == 2


def test_a_look_is_not_taken_for_a_hold(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is claimed while an observer stands in the middle of its look."""
    root, params = project({"a": {}})
    order = support.job_specs(root, params)["a"]
    order.work.mkdir(parents=True)
    (order.work / "lock").touch()
    looks, seen = threading.Event(), threading.Event()
    lock = fcntl.flock

    def slowly(file: Any, how: int) -> None:
        lock(file, how)
        if threading.current_thread() is observer and Path(file.name).name == "lock":
            looks.set()
            seen.wait(60)

    monkeypatch.setattr(fcntl, "flock", slowly)
    observer = threading.Thread(target=held, args=(order.work,))
    observer.start()
    assert looks.wait(60)
    threading.Timer(0.2, seen.set).start()
    assert claim(order, 3) is not None
    observer.join()


def test_it_is_given_up_after_the_last_attempt_with_the_last_reason(project: Project) -> None:
    root, params = project({"a": {}})
    order = support.job_specs(root, params)["a"]
    for _ in range(2):
        lock = claim(order, 2)
        assert lock is not None
        JobState.of(order).note(reason="RuntimeError: no luck")
        lock.close()
    assert claim(order, 2) is None
    entry = JobState.of(order).read()
    assert entry["state"] == "failed"
    assert "2 attempts" in entry["reason"]
    assert "no luck" in entry["reason"]


def test_reopening_gives_fresh_attempts(project: Project) -> None:
    root, params = project({"a": {}})
    order = support.job_specs(root, params)["a"]
    order.work.mkdir(parents=True)
    JobState.of(order).note(state="failed", attempts=3, reason="bad")
    assert claim(order, 3) is None
    reopen(order)
    lock = claim(order, 3)
    assert lock is not None
    lock.close()
