"""What curves are put into words, and what is not."""

from pathlib import Path

import pytest

from pipeline import store
from pipeline.report._advice import advise
from pipeline.report.results import read
from tests.helpers import fabricate


def advice(root: Path, losses: list[float], scores: list[float], test: float, baseline: float | None = None) -> str:
    job = fabricate.job("lenet5")
    fabricate.measured(root, "lenet5", job, {"top1": test})
    rows = [f"{at},{at},0.1,{loss},{score}" for at, (loss, score) in enumerate(zip(losses, scores, strict=True), 1)]
    (root / "models/lenet5/history.csv").write_text("\n".join(["epoch,step,train/lr,train/loss,val/top1", *rows, ""]))
    if baseline is not None:
        entry = {"title": "always cat", "metric": "top1", "value": baseline, "low": baseline, "high": baseline}
        store.write_json(root / "evaluations/lenet5/baseline.json", entry)
    return advise("lenet5", read(root, fabricate.params({"lenet5": job})))


def test_known_by_heart_and_not_understood_is_overfitting(tmp_path: Path) -> None:
    text = advice(tmp_path, [2.3, 0.5, 0.009], [0.3, 0.45, 0.42], 0.44)
    assert "overfits" in text
    assert "0.009" in text
    assert "0.450" in text
    assert "augmentation" in text


def test_the_same_loss_with_a_good_score_is_none(tmp_path: Path) -> None:
    assert advice(tmp_path, [2.3, 0.5, 0.009], [0.3, 0.97, 0.96], 0.95) == ""


def test_no_better_than_the_baseline_comes_first(tmp_path: Path) -> None:
    assert "nothing beyond “always cat”" in advice(tmp_path, [2.3, 0.5, 0.009], [0.3, 0.45, 0.42], 0.1, baseline=0.1)
    assert "overfits" in advice(tmp_path, [2.3, 0.5, 0.009], [0.3, 0.45, 0.42], 0.44, baseline=0.1)


@pytest.mark.parametrize(("scores", "asked"), [([0.3, 0.5, 0.6], True), ([0.3, 0.6, 0.5], False)])
def test_the_best_epoch_was_the_last(tmp_path: Path, scores: list[float], asked: bool) -> None:
    assert ("more epochs" in advice(tmp_path, [2.3, 1.5, 1.2], scores, 0.6)) == asked
