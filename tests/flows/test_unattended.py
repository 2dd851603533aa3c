"""A running flow run counts as unattended only where its stage's lock exists and no process holds it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import _unattended
from pipeline import store


def test_only_runs_whose_lock_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client import orchestration

    @contextlib.contextmanager
    def client(*, sync_client: bool) -> Iterator[SimpleNamespace]:
        assert sync_client
        runs = [SimpleNamespace(name=name) for name in ("train", "prepare", "mine")]
        yield SimpleNamespace(read_flow_runs=lambda flow_run_filter: runs)

    monkeypatch.setattr(orchestration, "get_client", client)
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"):
        monkeypatch.setenv(name, "")
    locks = tmp_path / ".work/stages"
    with store.locked(locks / "prepare.lock", "prepare"):
        (locks / "train.lock").touch()
        assert _unattended.unattended(tmp_path, "http://here") == ["train"]
    assert _unattended.unattended(tmp_path, "http://here") == ["prepare", "train"]
