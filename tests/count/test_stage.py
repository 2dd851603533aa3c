"""The count stage writes what each architecture costs, and refuses one that is not the published one."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from pipeline import store
from pipeline.count import stage
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.sample import Facts

JOB = {"task": "classification", "dataset": "digits", "channels": 1}


def params(**jobs: dict[str, Any]) -> Params:
    return Params.model_validate({"datasets": {"digits": {"format": "digits"}}, "jobs": jobs})


class WithoutBias(nn.Conv2d):
    """A convolution that was asked for a bias and has none."""

    def __init__(self, maps: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__(maps, outputs, kernel, groups=groups, bias=False)


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


def test_a_dropped_bias_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn, "Conv2d", WithoutBias)
    with pytest.raises(
        UserError, match=r"lenet5\.py: 59,858 parameters at the paper's settings, but PAPER says 60,000"
    ):
        stage.published("lenet5")


def test_a_wrong_setting_is_named_with_its_place(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"^params\.yaml: jobs\.small\.size: 8 is too small for lenet5; use at least 28"
    ):
        stage.run(params(small=JOB | {"architecture": "lenet5", "size": 8}), root)
