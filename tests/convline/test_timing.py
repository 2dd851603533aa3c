"""Jobs are shortened to the minutes that a person has, and never lengthened."""

from typing import Any

import pytest

from convline import timing
from convline.suggest import Suggestion
from pipeline import processes


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 2)


def suggestion(**epochs: int) -> Suggestion:
    jobs: dict[str, dict[str, Any]] = {name: {"epochs": number, "patience": 20} for name, number in epochs.items()}
    return Suggestion(jobs, dict.fromkeys(epochs, "why"), {})


def test_two_cores_train_two_jobs_side_by_side() -> None:
    assert timing.whole(suggestion(a=1, b=1), {"a": 60.0, "b": 40.0}) == 60
    assert timing.whole(suggestion(a=1, b=1, c=1), {"a": 60.0, "b": 60.0, "c": 60.0}) == 90


def test_fewer_minutes_are_fewer_epochs() -> None:
    shorter, expected = timing.shorten(suggestion(a=30, b=4, c=0), {"a": 600.0, "b": 60.0, "c": 30.0}, minutes=5)
    assert {name: job["epochs"] for name, job in shorter.jobs.items()} == {"a": 15, "b": 3, "c": 0}
    assert shorter.jobs["a"]["patience"] == 5
    assert expected == {"a": 300.0, "b": 45.0, "c": 30.0}


def test_enough_minutes_change_nothing() -> None:
    given = suggestion(a=30)
    assert timing.shorten(given, {"a": 100.0}, minutes=5) == (given, {"a": 100.0})


def test_the_expected_time_stands_beside_the_reason() -> None:
    assert timing.with_reasons(suggestion(a=1), {"a": 300.0}).reasons == {"a": "why; about 5 min on this machine"}
