"""The limit of detections per image changes the scores of detection jobs alone, and is recorded with them."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline import plugins
from pipeline.evaluate import scoring, stage
from pipeline.params import Evaluate
from pipeline.register import champion
from pipeline.tasks import detection
from tests.helpers.detections import MANY, SETTINGS, many


@pytest.mark.parametrize("task", plugins.names("tasks"))
def test_what_scorers_and_figures_ask_for_are_settings(task: str) -> None:
    asked = plugins.options("tasks", task, "scorer") or []
    assert set(asked) <= set(Evaluate.model_fields)
    assert (plugins.options("tasks", task, "figures") or []) == asked


def test_only_what_is_not_as_usual_is_given() -> None:
    assert scoring.arguments(Evaluate(), "detection") == {}
    assert scoring.arguments(Evaluate(detections=100, pictures=3), "detection") == {}
    assert scoring.arguments(Evaluate(detections=300), "detection") == {"detections": 300}
    assert scoring.arguments(Evaluate(detections=300), "classification") == {}


@pytest.mark.parametrize("asked", [{}, {"detections": 300}])
def test_scores_are_of_as_many_detections_as_are_asked_for(asked: dict[str, int]) -> None:
    row = detection.rows(*many())
    table = pa.Table.from_pylist([{"id": name, "group": name, **row} for name in "ab"])
    tables, plan = {"val": table, "test": table}, stage.Plan(Evaluate(resamples=100), asked=asked)
    scores, drawn = stage._scores("detection", tables, SETTINGS, plan)
    expected = MANY[asked.get("detections", 100)]["box_mAP"]
    assert scores["val_box_mAP"] == scores["box_mAP"] == scores["box_mAP_high"] == pytest.approx(expected, abs=1e-6)
    limited = (scores.get("detections"), scores.get("box_AR300"))
    assert limited == ((300, MANY[300]["box_AR"]) if asked else (None, None))
    assert np.ptp(drawn["box_AP50_voc10"]) == 0


def test_the_champion_is_decided_by_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion, "RESAMPLES", 10)
    asked, given = many()
    half = given.take(np.arange(100))
    ours, theirs = (
        pa.Table.from_pylist([{"id": "a", "group": "a", **detection.rows(asked, seen)}]) for seen in (given, half)
    )
    assert champion.decide(ours, theirs, "detection", SETTINGS)["difference"] == pytest.approx(0)
    decision = champion.decide(ours, theirs, "detection", SETTINGS, detections=300)
    assert decision["difference"] == pytest.approx(MANY[300]["box_mAP"] - MANY[100]["box_mAP"], abs=1e-6)
