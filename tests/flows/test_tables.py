"""What the tables of a run say of jobs and decisions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows import tables
from pipeline import store
from pipeline.params import Params
from pipeline.train import stage
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]
OLD = {"job": "a", "fingerprint": "1" * 64}
NEW = {"job": "b", "fingerprint": "2" * 64}
NUMBERS = {"promoted": False, "metric": "top1", "difference": 0.02, "low": 0.01, "high": 0.03}


@pytest.mark.usefixtures("here")
def test_the_score_is_of_this_very_model(project: Project) -> None:
    root, params = project({"a": {"seed": 1}, "b": {"seed": 2}})
    mark = support.job_specs(root, params)["a"].fingerprint
    assert tables.score(root, "a", mark) == "waiting"
    stage.run(params.choose(["a"]), root)
    value = store.read_json(root / ".work/jobs" / mark / "state.json")["value"]
    assert tables.score(root, "a", mark) == f"val top1 {value:.4f}"
    metrics = {"primary": "top1", "top1": 0.9, "top1_low": 0.85, "top1_high": 0.95}
    store.write_json(root / "metrics/a.json", metrics)
    other = "0" * 64
    assert tables.score(root, "a", other) == "waiting"  # this was measured on some other model
    stage.run(params, root)
    assert tables.score(root, "a", mark) == "test top1 0.9000 [0.8500, 0.9500]"
    rows = tables.jobs(root, tables.fingerprints(root), "http://127.0.0.1:5000")
    assert [(row["job"], row["MLflow"], row["seconds"] > 0) for row in rows] == [
        ("a", "", True),
        ("b", "", True),
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"champion": OLD, "decision": {"text": "the first"}}, ("none", "a 11111111", "the first", None)),
        (
            {"champion": OLD, "decision": {"text": "the first"}},
            {"champion": NEW, "decision": {"text": "b replaces", **NUMBERS}},
            ("a 11111111", "b 22222222", "b replaces", 0.01),
        ),
        (
            {"champion": OLD, "decision": {"text": "b does not", **NUMBERS}},
            {"champion": OLD, "decision": {"text": "b does not", **NUMBERS}},
            ("a 11111111", "a 11111111", "as before", None),
        ),
    ],
)
def test_a_decision_has_its_champions_words_and_numbers(
    before: dict[str, object], after: dict[str, object], expected: tuple[object, ...]
) -> None:
    (row,) = tables.decisions({"m": before} if before else {}, {"m": after})
    assert (row["before"], row["champion"], row["decision"], row["low"]) == expected
