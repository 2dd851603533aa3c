"""What a job is expected to take: the formula on measured steps, and steps of a learner of each kind."""

from pathlib import Path
from typing import Any

import pytest

from pipeline import sample
from pipeline.params import Job
from pipeline.train import estimate
from tests.helpers import support

ONE: dict[str, Any] = {**support.LINEAR, "epochs": 3}


def test_seconds_are_those_of_train_and_val_images_in_each_epoch(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([0.01, 0.002])
    monkeypatch.setattr(estimate, "_per_image", lambda _: next(steps))
    prepared = digits / "data/prepared/digits"
    counts = sample.facts(prepared).counts
    expected = 3 * (0.01 * counts["train"] + 0.002 * counts["val"])
    assert estimate.seconds(Job.model_validate(ONE), [], prepared) == pytest.approx(expected)


def test_features_are_computed_once(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_per_image", lambda _: 0.1)
    options = {"backbone": "lenet5"}
    frozen = Job.model_validate({**ONE, "architecture": "frozen_features", "options": options, "size": 32, "epochs": 0})
    prepared = digits / "data/prepared/digits"
    counts = sample.facts(prepared).counts
    assert estimate.seconds(frozen, [], prepared) == pytest.approx(0.1 * (counts["train"] + counts["val"]))


def test_steps_are_taken_and_leave_nothing_behind(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(estimate, "SECONDS", 0.0)
    before = torch.random.get_rng_state(), torch.get_num_threads()
    light: list[dict[str, Any]] = [{"shift": {"limit": 0.1}}]
    one = estimate.seconds(Job.model_validate(ONE), light, digits / "data/prepared/digits", threads=1)
    assert one > 0
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    estimate.keep(tmp_path, {"a": 61.5})
    estimate.keep(tmp_path, {"b": 400.0})
    assert estimate.read(tmp_path) == {"a": 61.5, "b": 400.0}
    assert [estimate.words(value) for value in (61.5, 400.0)] == ["62 s", "7 min"]
