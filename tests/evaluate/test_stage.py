"""evaluate turns models into rows, scores with intervals and pictures: the same bytes from the same model."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pipeline import images, plugins, shards, store
from pipeline import params as params_module
from pipeline.errors import UserError
from pipeline.evaluate import pictures, stage
from pipeline.params import Params
from pipeline.train import stage as train_stage
from tests.helpers import support

JOBS: dict[str, dict[str, Any]] = {"small": {"epochs": 3}, "other": {"epochs": 3, "seed": 1}}
Project = Callable[..., tuple[Path, Params]]


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two trained and evaluated jobs; read-only: `copied` gives one to write in."""
    root = tmp_path_factory.mktemp("trained")
    (root / "data").symlink_to(digits / "data")
    params = support.write_params(root, JOBS)
    with pytest.MonkeyPatch.context() as patch:
        from pipeline.train import ray_train

        patch.setattr(ray_train, "run", support.train_here)
        patch.setattr("pipeline.evaluate.speed.disturbance", lambda *_, **__: None)
        train_stage.run(params, root)
        stage.run(params, root)
    return root


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    root = tmp_path / "root"
    shutil.copytree(trained, root, symlinks=True)
    return root


def params(root: Path, jobs: dict[str, dict[str, Any]] = JOBS, **settings: Any) -> Params:
    return support.write_params(root, jobs, evaluate={"resamples": 100, "pictures": 2, **settings})


def test_the_metrics_file_is_flat_and_every_interval_holds_its_value(trained: Path) -> None:
    assert {path.name for path in (trained / "metrics").iterdir()} == {"small.json", "other.json"}
    scores = store.read_json(trained / "metrics/small.json")
    expected = {
        "job": "small",
        "task": "classification",
        "architecture": "linear",
        "dataset": "digits",
        "primary": "top1",
        "higher_is_better": True,
    }
    assert {name: scores.pop(name) for name in expected} == expected
    assert 0.5 < scores.pop("val_top1") <= 1
    metrics = [name for name in scores if not name.endswith(("_low", "_high"))]
    assert {"top1", "top5", "mean_recall", "nll", "ECE", "recall[0]", "recall[9]"} <= set(metrics)
    assert len(scores) == 3 * len(metrics)
    for name in metrics:
        assert scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"]
    assert scores["top1_low"] < scores["top1"] < scores["top1_high"]
    assert scores["top1"] > 0.5


def test_scores_are_of_the_rows(trained: Path) -> None:
    folder, scores = trained / "evaluations/small", store.read_json(trained / "metrics/small.json")
    store.verify(folder)
    for split, name in (("test", "top1"), ("val", "val_top1")):
        table = pq.read_table(folder / f"{split}.parquet")
        stored = shards.split(trained / "data/prepared/digits", split)
        assert table["id"].to_pylist() == stored.column("id")
        assert table["label"].to_pylist() == stored.column("label")
        hits = [
            one == two for one, two in zip(*(table[key].to_pylist() for key in ("label", "prediction")), strict=True)
        ]
        assert scores[name] == pytest.approx(sum(hits) / len(hits), abs=1e-6)


def test_pictures_and_protocol(trained: Path) -> None:
    folder = trained / "evaluations/small"
    for name in ("examples", "failures", "figure-confusion", "seeing-first-layer"):
        assert images.decode(folder / f"{name}.png").std() > 10
    protocol = store.read_json(folder / "protocol.json")
    counts = {split: len(shards.split(trained / "data/prepared/digits", split)) for split in ("val", "test")}
    assert protocol["images"] == counts
    assert protocol["model"] == store.content_digest(trained / "models/small")
    assert protocol["size"] == 8
    assert protocol["fit"] == "stretch"


def test_a_second_making_gives_the_same_bytes_and_holds_no_time(copied: Path) -> None:
    folder = copied / "evaluations/small"
    before = store.manifest(folder)
    metrics = (copied / "metrics/small.json").read_bytes()
    shutil.rmtree(folder)
    shutil.rmtree(copied / ".work/evaluations")
    stage.run(params(copied), copied)
    assert store.manifest(folder) == before
    assert (copied / "metrics/small.json").read_bytes() == metrics
    for path in [*(copied / "metrics").iterdir(), *folder.glob("*.json")]:
        assert not re.search(r"time|_ms|_s\b|per_s|20\d\d-|seconds", path.read_text()), path


def test_speed_goes_to_its_own_file_and_is_of_the_model_in_place(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.evaluate.speed.disturbance", lambda *_, **__: None)
    path, measured = copied / "reports/speed.json", {"latency_ms", "throughput_images_per_s", "device", "evaluation"}
    measured |= {"latency_low_ms", "latency_high_ms", "processor", "threads"}
    first = store.read_json(path)
    assert set(first) == {"small", "other"}
    assert all(set(entry) >= measured and entry["latency_ms"] > 0 for entry in first.values())
    assert {entry["device"] for entry in first.values()} == {"cpu"}
    stage.run(params(copied), copied)
    assert store.read_json(path) == first  # nothing is new, nothing is measured
    store.write_json(path, {"small": {"train_s": 3.0}, "other": first["other"]})
    stage.run(params(copied), copied)
    again = store.read_json(path)
    assert set(again["small"]) == measured | {"train_s"}
    assert again["other"] == first["other"]
    assert again["small"]["latency_ms"] == first["small"]["latency_ms"]  # kept, not measured again
    shutil.rmtree(copied / "models/small")
    shutil.copytree(copied / "models/other", copied / "models/small")
    stage.run(params(copied), copied)
    assert store.read_json(path)["small"]["evaluation"] == first["other"]["evaluation"]


def test_a_job_that_left_the_roster_leaves(copied: Path) -> None:
    stage.run(params(copied), copied)  # links the copied files to those that are kept
    kept = {path.name: path.stat().st_ino for path in (copied / "evaluations/small").iterdir()}
    stage.run(params(copied, {"small": JOBS["small"]}), copied)
    assert [path.name for path in (copied / "evaluations").iterdir()] == ["small"]
    assert [path.name for path in (copied / "metrics").iterdir()] == ["small.json"]
    assert {path.name: path.stat().st_ino for path in (copied / "evaluations/small").iterdir()} == kept


def test_a_job_that_failed_is_no_obstacle(copied: Path) -> None:
    shutil.rmtree(copied / "models/other")
    stage.run(params(copied), copied)
    assert [path.name for path in (copied / "metrics").iterdir()] == ["small.json"]


def test_settings_make_it_anew_and_a_renamed_job_does_not(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage.run(params(copied, {"small": JOBS["small"]}, pictures=3), copied)
    told = capsys.readouterr().out
    assert "evaluate: 1 of 1 models to evaluate on cpu" in told
    assert told.splitlines()[1].split()[2] == "made"
    (copied / "models/small").rename(copied / "models/renamed")
    stage.run(params(copied, {"renamed": JOBS["small"]}, pictures=3), copied)
    assert capsys.readouterr().out.split()[1:3] == ["renamed", "restored"]
    assert store.read_json(copied / "metrics/renamed.json")["job"] == "renamed"


def test_a_setting_that_no_task_here_asks_for_makes_nothing_anew(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    stage.run(params(copied, detections=300), copied)
    words = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    assert words == ["kept", "kept"]


def test_a_damaged_model_is_refused(copied: Path) -> None:
    weights = copied / "models/small/weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.unlink()
    weights.write_bytes(data)
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        stage.run(params(copied, pictures=4), copied)


def test_a_score_that_is_undefined_is_null_with_null_bounds(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plugins.load("tasks", "classification")
    real = task.scorer

    def scorer(table: Any, settings: Any) -> Callable[[Any], dict[str, float]]:
        score = real(table, settings)
        added = {"mystery": (float("nan"), 1.0), "raised": (1.0, 2.0), "lowered": (2.0, 1.0)}

        def changed(counts: Any) -> dict[str, float]:
            return {**score(counts), **{name: pair[int(counts.max() > 1)] for name, pair in added.items()}}

        return changed

    monkeypatch.setattr(task, "scorer", scorer)
    stage.run(params(copied, pictures=5), copied)
    scores = store.read_json(copied / "metrics/small.json")
    assert (scores["mystery"], scores["mystery_low"], scores["mystery_high"]) == (None, None, None)
    assert scores["undefined"] == {"mystery": "no image in test"}
    for name, value in (("raised", 1.0), ("lowered", 2.0)):  # by resampling, as ECE is
        assert (scores[f"{name}_low"], scores[name], scores[f"{name}_high"]) == (1.0, value, 2.0)


@pytest.mark.usefixtures("here")
def test_a_chosen_job_is_measured_and_the_results_of_others_stay(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def files() -> dict[Path, bytes]:
        folders = [copied / name for name in ("evaluations", "metrics")]
        return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}

    before = files()
    jobs = {**JOBS, "third": {"epochs": 1, "seed": 2}}
    chosen = support.write_params(copied, jobs, roster=["small", "other"]).choose(["third"])
    train_stage.run(chosen, copied)
    stage.run(params_module.with_kept(chosen, copied), copied)
    assert re.search(r"evaluate: third +made +test top1 0\.\d{4} \[0\.\d{4}, [01]\.\d{4}\]", capsys.readouterr().out)
    after = files()
    assert {path: after[path] for path in before} == before
    plain = support.write_params(copied, jobs, roster=["small", "other"])
    train_stage.run(plain, copied)
    stage.run(params_module.with_kept(plain, copied), copied)
    assert files() == after


def test_worst_mistakes_are_mistakes(trained: Path) -> None:
    """A right answer of low probability is none."""
    rows = pq.read_table(trained / "evaluations/small/test.parquet")
    right = [a == b for a, b in zip(rows["label"].to_pylist(), rows["prediction"].to_pylist(), strict=True)]
    severity = rows["severity"].to_pylist()
    assert any(value == 0 for value in severity)
    assert [value == 0 for value in severity] == right


@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_no_more_pictures_are_shown_than_there_are_mistakes(tmp_path: Path, wrong: int) -> None:
    class Task:
        """Draws the image's index."""

        def __init__(self) -> None:
            self.drawn: list[int] = []

        def draw(self, sample: Any, prediction: int, settings: Any) -> NDArray[np.uint8]:
            self.drawn.append(prediction)
            return np.zeros((4, 4, 3), np.uint8)

    task = Task()
    severity = [0.0] * (6 - wrong) + [0.1 * number for number in range(1, wrong + 1)]
    pictures.draw(tmp_path, task, list(range(6)), dict(enumerate(range(6))), pa.table({"severity": severity}), None, 2)
    assert task.drawn[:2] == [0, 5]
    assert task.drawn[2:] == [5, 4][:wrong]
    assert (tmp_path / "failures.png").exists() == (wrong > 0)
