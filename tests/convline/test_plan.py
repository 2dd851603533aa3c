"""`convline plan` says what a run would train and why, with the minutes of last time."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from convline.commands import plan
from pipeline import store
from pipeline.params import Params
from pipeline.train import stage
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]


@pytest.mark.usefixtures("here")
def test_what_is_stale_is_named_with_its_reason_and_time(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, params = project({"a": {"seed": 1}, "b": {"seed": 2}})
    monkeypatch.chdir(root)
    stage.run(params, root)
    store.write_json(root / "reports/speed.json", {"b": {"train_s": 90.0}})
    support.write_params(root, {"a": {"seed": 1}, "b": {"seed": 2, "lr": 0.1, "epochs": 3}, "new": {"seed": 3}})
    capsys.readouterr()
    assert plan.command() == 0
    a, b, new, total = capsys.readouterr().out.splitlines()
    assert a.split(maxsplit=1)[1] == "up to date"
    assert all(part in b for part in ("train anew: setting ", "and 1 more", "(1.5 min last time)"))
    assert new.split(maxsplit=1)[1] == "train"
    assert total.startswith("2 of 3 jobs to train: 1.5 min last time, 1 of them for the first time here; ")
    assert plan.command(["a"], json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["job"], row["state"]) for row in told["jobs"]] == [("a", "fresh")]
