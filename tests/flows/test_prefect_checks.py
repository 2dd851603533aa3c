"""Runs without a process, and schedules without a run, are found; others are not."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from flows import _prefect_checks
from pipeline import store

ENVIRONMENT = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")


def test_only_runs_whose_lock_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client import orchestration

    @contextlib.contextmanager
    def client(*, sync_client: bool) -> Iterator[SimpleNamespace]:
        assert sync_client
        runs = [SimpleNamespace(name=name) for name in ("train", "prepare", "mine")]
        yield SimpleNamespace(read_flow_runs=lambda flow_run_filter: runs)

    monkeypatch.setattr(orchestration, "get_client", client)
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")
    locks = tmp_path / ".work/stages"
    with store.locked(locks / "prepare.lock", "prepare"):
        (locks / "train.lock").touch()
        assert _prefect_checks.orphaned_runs(tmp_path, "http://here") == ["train"]
    assert _prefect_checks.orphaned_runs(tmp_path, "http://here") == ["prepare", "train"]


def test_only_schedules_that_are_on_and_plan_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client import orchestration

    def deployment(name: str, *active: bool, paused: bool = False) -> SimpleNamespace:
        schedules = [SimpleNamespace(active=each) for each in active]
        return SimpleNamespace(id=uuid4(), name=name, paused=paused, schedules=schedules)

    both = [deployment("planned", True), deployment("by-hand", False, True)]
    known = [*both, deployment("none"), deployment("off", False), deployment("paused", True, paused=True)]
    planned = {both[0].id: [SimpleNamespace(auto_scheduled=True)], both[1].id: [SimpleNamespace(auto_scheduled=False)]}

    def runs(deployment_filter: Any, flow_run_filter: Any, limit: int) -> list[SimpleNamespace]:
        assert flow_run_filter.expected_start_time.after_ is not None
        return planned.get(deployment_filter.id.any_[0], [])

    @contextlib.contextmanager
    def client(*, sync_client: bool) -> Iterator[SimpleNamespace]:
        assert sync_client
        yield SimpleNamespace(read_deployments=lambda: known, read_flow_runs=runs)

    monkeypatch.setattr(orchestration, "get_client", client)
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")
    assert _prefect_checks.idle_schedules(tmp_path, "http://here") == ["by-hand"]
