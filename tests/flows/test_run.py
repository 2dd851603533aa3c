"""A stage runs plainly without a server, says a user's error once, and leaves its time behind."""

import json
import os
from pathlib import Path

import psutil
import pytest

from flows import _run
from pipeline import store
from pipeline.errors import UserError
from pipeline.params import Params
from tests.helpers import support


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    support.copy_params(_run.ROOT, tmp_path)
    monkeypatch.setattr(_run, "ROOT", tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plain_stage_writes_its_times(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def body(params: Params, place: Path) -> dict[str, float]:
        print(f"{len(params.jobs) > 0} {place == root}")
        return {"ray_s": 1.5}

    _run.stage("demo", body)
    assert capsys.readouterr().out == "True True\n"
    times = json.loads((root / ".work/times/demo.json").read_text())
    assert times["ray_s"] == 1.5
    assert times["stage_s"] >= 0


def test_users_error_is_one_message_and_code_two(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def body(params: Params, place: Path) -> None:
        raise UserError("params.yaml: jobs.x.lr: too low. Raise it.")

    with pytest.raises(SystemExit) as ended:
        _run.stage("demo", body)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "\nparams.yaml: jobs.x.lr: too low. Raise it.\n\n"
    assert not (root / ".work/times/demo.json").exists()


def test_two_at_once_are_refused(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_run, "ENDING_S", 0.0)

    def body(params: Params, place: Path) -> None:
        raise AssertionError("must not run")

    with store.locked(root / ".work/stages/demo.lock", "demo"), pytest.raises(SystemExit) as ended:
        _run.stage("demo", body)
    assert ended.value.code == 2
    assert "demo is already running" in capsys.readouterr().err


def test_only_living_services_count(root: Path) -> None:
    here = psutil.Process()
    entry = {"address": "http://127.0.0.1:1", "pid": here.pid, "started": here.create_time()}
    store.write_json(root / ".work/services.json", {"mlflow": entry, "ray": {**entry, "started": 1.0}})
    assert _run.live_services(root) == {"mlflow": entry}
    assert _run.live_services(root / "elsewhere") == {}


@pytest.mark.parametrize(("own", "expected"), [(None, "127.0.0.1:7"), ("ray.example:6379", "ray.example:6379")])
def test_ray_joins_the_head_unless_the_user_names_one(root: Path, own: str | None, expected: str) -> None:
    os.environ.pop("RAY_ADDRESS", None)
    if own:
        os.environ["RAY_ADDRESS"] = own
    here = psutil.Process()
    who = {"pid": here.pid, "started": here.create_time()}
    entry = {"address": "http://127.0.0.1:8", "gcs": "127.0.0.1:7", "token": "/secret", **who}
    store.write_json(root / ".work/services.json", {"ray": entry})
    seen: dict[str, str] = {}

    def body(params: Params, place: Path) -> None:
        seen.update(os.environ)

    _run.stage("demo", body)
    assert seen["RAY_ADDRESS"] == expected
    assert seen.get("RAY_AUTH_TOKEN_PATH") == (None if own else "/secret")
