"""`make repro` says at once that nothing is to do, and only then: any change of what a run reads is looked into."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import _unchanged, choose
from pipeline import store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project after a run that ended well, of which DVC says that no stage is stale."""
    for name in ("params.yaml", "params/more.yaml", "plugins/models/mine.py", "dvc.yaml", "mlruns/mlflow.db"):
        store.write_bytes(tmp_path / name, b"a")
    choose.choose(tmp_path, [])
    _unchanged.note(tmp_path, "inputs", _unchanged.inputs(tmp_path))
    _unchanged.note(tmp_path, "records", _unchanged.records(tmp_path))
    monkeypatch.setattr(_unchanged, "stale", lambda root: [])
    return tmp_path


def test_nothing_is_to_do_after_a_run(ran: Path) -> None:
    assert _unchanged.is_unchanged(ran, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "params.yaml").write_text("b"),
        lambda root: (root / "params/more.yaml").unlink(),
        lambda root: (root / "plugins/models/mine.py").touch(),
        lambda root: (root / "plugins/models/other.py").touch(),
        lambda root: (root / "mlruns/mlflow.db").write_text("b"),
        lambda root: (root / "mlruns/artifacts").write_text("b"),
        lambda root: (root / choose.FILE).unlink(),
        lambda root: choose.choose(root, ["lenet5"]),
        lambda root: os.environ.update(CONVLINE_KEY="k" * 40),
        lambda root: (root / ".work/unchanged/records.json").unlink(),
    ],
)
def test_a_change_is_looked_into(ran: Path, change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    change(ran)
    assert not _unchanged.is_unchanged(ran, [])


def test_other_words_are_looked_into(ran: Path) -> None:
    assert not _unchanged.is_unchanged(ran, ["lenet5"])
    choose.choose(ran, ["lenet5"])
    assert _unchanged.is_unchanged(ran, ["lenet5"])


def test_a_moved_project_is_looked_into(ran: Path) -> None:
    moved = ran.rename(ran.with_name("moved"))
    assert not _unchanged.is_unchanged(moved, [])


@pytest.mark.parametrize("answer", [None, ["train"]])
def test_dvc_has_the_last_word(ran: Path, answer: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_unchanged, "stale", lambda root: answer)
    assert not _unchanged.is_unchanged(ran, [])


def test_stages_that_always_run_are_not_stale_for_that() -> None:
    status = {
        "choose": ["always changed"],
        "train": [{"changed deps": {"params": "modified"}}],
        "register": [{"changed outs": {"reports/registered.json": "deleted"}}, "always changed"],
    }
    assert _unchanged.changed(json.dumps(status)) == ["register", "train"]


def test_dvc_that_fails_says_nothing(tmp_path: Path) -> None:
    assert _unchanged.stale(tmp_path) is None


def test_what_answers_imports_nothing_that_takes_long() -> None:
    heavy = ("torch", "pydantic", "prefect", "ruamel", "mlflow", "numpy", "dvc")
    code = f"import sys, flows.repro; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
