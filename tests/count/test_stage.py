"""The count stage writes what each architecture costs, and stops no run."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pipeline import store
from pipeline.count import stage
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.sample import Facts
from tests.helpers import own_plugins

JOB = {"task": "classification", "dataset": "digits", "channels": 1}


def params(**jobs: dict[str, Any]) -> Params:
    return Params.model_validate({"datasets": {"digits": {"format": "digits"}}, "jobs": jobs})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A prepared dataset of three classes, as far as the stage reads it."""
    facts = dict.fromkeys((field.name for field in fields(Facts)), ()) | {"classes": ["0", "1", "2"]}
    store.write_json(tmp_path / "data" / "prepared" / "digits" / "dataset.json", facts)
    return tmp_path


def test_writes_paper_and_jobs(root: Path) -> None:
    linear = JOB | {"architecture": "linear", "size": 8}
    modern = JOB | {"architecture": "lenet5", "size": 32}
    paper = modern | {"options": {"variant": "paper"}, "size": 28}
    left_out = modern | {"seed": 1}
    chosen = params(linear=linear, modern=modern, paper=paper, left_out=left_out).choose(["linear", "modern", "paper"])
    stage.run(chosen, root)
    report = store.read_json(root / "reports" / "parameters.json")

    assert {name: list(entry["jobs"]) for name, entry in report.items()} == {
        "lenet5": ["modern", "paper"],
        "linear": ["linear"],
    }
    assert report["lenet5"]["paper"] == {
        "settings": {"input": [1, 28, 28], "classes": 10, "options": {"variant": "paper"}},
        "published": 60_000,
        "parameters": 60_000,
        "multiply_adds": 325_680,
        "activation_bytes": 69_768,
        "receptive_field": 32,
        "stride": 4,
    }
    job = report["lenet5"]["jobs"]["modern"]
    assert job["settings"] == {"input": [1, 32, 32], "classes": 3, "options": {}}
    assert job["parameters"] == 61_706 - 7 * 85
    assert sum(row["parameters"] for row in job["modules"]) == job["parameters"]
    assert job["modules"][1] == {
        "name": "c1.0",
        "type": "Conv2d",
        "parameters": 156,
        "multiply_adds": 28 * 28 * 6 * 25,
        "activation_bytes": 28 * 28 * 6 * 4,
        "receptive_field": 5,
        "stride": 1,
    }
    assert report["linear"]["jobs"]["linear"]["parameters"] == 3 * 65
    assert report["linear"]["paper"]["receptive_field"] is None


def test_same_input_same_bytes(root: Path) -> None:
    jobs = params(linear=JOB | {"architecture": "linear", "size": 8})
    path = root / "reports" / "parameters.json"
    stage.run(jobs, root)
    first = path.read_bytes()
    stage.run(jobs, root)
    assert path.read_bytes() == first


OWN = """
import torch
from torch import nn

TASKS = ("classification",)

class Value(nn.Module):
    def forward(self, values):
        return values * float(values.sum().{read})

def build(spec, *, width=4):
    return nn.Sequential(nn.Conv2d(spec.channels, width, 3), Value(), nn.Flatten(), nn.Linear(36 * width, spec.classes))
"""


@pytest.mark.parametrize(("read", "multiply_adds"), [("item()", 4 * 36 * 9 + 3 * 4 * 36), ("no_such_method()", None)])
def test_an_own_layer_that_needs_values_stops_nothing(
    read: str, multiply_adds: int | None, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted on the CPU; if that fails, its parameters are, and one line says so."""
    own = own_plugins.use(root, monkeypatch)
    own_plugins.write(own, "models", "own", OWN.format(read=read))
    stage.run(params(a=JOB | {"architecture": "own", "size": 8}), root)
    entry = store.read_json(root / "reports" / "parameters.json")["own"]
    job = entry["jobs"]["a"]
    assert entry["paper"] is None
    assert job["parameters"] == 4 * 10 + 3 * (4 * 36 + 1)
    assert job["multiply_adds"] == multiply_adds
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (multiply_adds is None)
    assert all("jobs.a" in line for line in warnings)


def test_a_wrong_paper_stops_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = own_plugins.use(root, monkeypatch)
    paper = 'PAPER = {"input": [1, 8, 8], "classes": 3, "options": {"widht": 4}, "parameters": 1}\n'
    own_plugins.write(own, "models", "own", paper + OWN.format(read="item()"))
    stage.run(params(a=JOB | {"architecture": "own", "size": 8}), root)
    assert store.read_json(root / "reports" / "parameters.json")["own"]["paper"] is None
    assert "plugins/models/own.py: PAPER" in caplog.text


def test_a_wrong_setting_is_named_with_its_path(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"^params\.yaml: jobs\.small\.size: 8 is too small for lenet5; use at least 28"
    ):
        stage.run(params(small=JOB | {"architecture": "lenet5", "size": 8}), root)
