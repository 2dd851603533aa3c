"""Runs, versions and the champion in a real MLflow store."""

import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import checkpoint, scores, store, tracking
from pipeline.evaluate import stage as evaluate_stage
from pipeline.params import Params
from pipeline.register import champion, trust, versions
from pipeline.register import stage as register_stage
from pipeline.tracking import FINGERPRINT
from pipeline.train import stage as train_stage
from tests.helpers import support
from tests.helpers.support import GOOD, WEAK

MODEL = "digits-classification"


@pytest.fixture(scope="module")
def measured(trained: tuple[Path, Params], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """A project with a good and a weak model, registered once."""
    root = tmp_path_factory.mktemp("register")
    shutil.copytree(trained[0], root, dirs_exist_ok=True)
    register_stage.run(trained[1], root)
    return root, trained[1]


@pytest.fixture
def lost(measured: tuple[Path, Params], tmp_path: Path) -> tuple[Path, Params]:
    """A copy of the project whose MLflow store is gone."""
    root, params = measured
    shutil.copytree(root, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mlruns"))
    return tmp_path, params


def found(root: Path) -> list[Any]:
    return list(tracking.client(root).search_model_versions(f"name = '{MODEL}'"))


def answer_as_measured(root: Path, job: str, patch: pytest.MonkeyPatch) -> None:
    """Take a champion's rows from its evaluation, to which `test_a_served_model_answers_as_evaluate_measured` holds."""
    rows = pq.read_table(root / "evaluations" / job / "test.parquet")
    patch.setattr(champion, "rows", lambda *arguments: rows)


def registered(root: Path) -> dict[str, Any]:
    return dict(store.read_json(root / "reports/registered.json")[MODEL])


def test_every_model_has_one_finished_run_and_one_version(measured: tuple[Path, Params]) -> None:
    root, params = measured
    register_stage.run(params, root)
    marks = {order.fingerprint for order in support.job_specs(root, params).values()}
    assert sorted(version.tags[FINGERPRINT] for version in found(root)) == sorted(marks)
    client = tracking.client(root)
    number = client.get_experiment_by_name("digits/classification").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([number])}
    assert set(runs) == {"good", "weak"}
    run = runs["good"]
    assert run.info.status == "FINISHED"
    metrics = store.read_json(root / "metrics/good.json")
    assert run.data.metrics["test/top1"] == metrics["top1"]
    assert run.data.metrics["test/top1_low"] == metrics["top1_low"]
    assert [item.step for item in client.get_metric_history(run.info.run_id, "val/top1")] == list(range(1, 9))
    assert {item.path for item in client.list_artifacts(run.info.run_id, "pictures")} >= {
        "pictures/examples.png",
        "pictures/figure-confusion.png",
    }


def test_the_champion_is_the_best_on_val(measured: tuple[Path, Params]) -> None:
    root, _ = measured
    assert registered(root)["champion"]["job"] == "good"
    assert registered(root)["challenger"] is None


def test_no_pickle_is_stored(measured: tuple[Path, Params]) -> None:
    root, _ = measured
    names = [path.name for path in (root / "mlruns/artifacts").rglob("*") if path.is_file()]
    assert "weights.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib"))]


def test_a_served_model_answers_as_evaluate_measured(measured: tuple[Path, Params]) -> None:
    """In a process that can't import today's `pipeline`, from the logged copy alone."""
    root, _ = measured
    settings = checkpoint.stored_settings(store.read_json(root / "models/good/model.json"))
    answered = champion.rows(root, "digits", "classification", f"models:/{MODEL}@champion", settings)
    rows = pq.read_table(root / "evaluations/good/test.parquet")
    for column in ("id", "label", "prediction", "rank"):
        assert answered[column].to_pylist() == rows[column].to_pylist()
    assert answered["confidence"].to_pylist() == pytest.approx(rows["confidence"].to_pylist(), abs=1e-5)


def test_a_lost_store_is_made_again(lost: tuple[Path, Params]) -> None:
    root, params = lost
    before = registered(root)
    register_stage.run(params, root)
    assert registered(root) == before
    assert len(found(root)) == 2


def test_processes_that_race_make_one_version_each(lost: tuple[Path, Params]) -> None:
    root, params = lost
    context = multiprocessing.get_context("fork")
    racing = [context.Process(target=register_stage.run, args=(params, root)) for _ in range(2)]
    for process in racing:
        process.start()
    for process in racing:
        process.join()
    assert [process.exitcode for process in racing] == [0, 0]
    assert len(found(root)) == 2


def test_a_second_version_of_a_fingerprint_is_taken_back(measured: tuple[Path, Params]) -> None:
    root, params = measured
    client = tracking.client(root)
    mark = support.job_specs(root, params)["weak"].fingerprint
    known = trust.keys(root)
    first = versions.find(client, known, MODEL, mark)
    assert first is not None
    client.create_model_version(MODEL, first.source, run_id=first.run_id, tags=first.tags)
    left = versions.find(client, known, MODEL, mark)
    assert left is not None
    assert left.version == first.version
    assert len(found(root)) == 2


def test_a_better_challenger_replaces_the_champion_and_a_like_one_does_not(
    lost: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = lost
    monkeypatch.setattr("pipeline.train.ray_train.run", support.train_here)
    (root / "reports/registered.json").unlink()

    def settle(jobs: dict[str, dict[str, Any]]) -> dict[str, Any]:
        params = support.write_params(root, jobs)
        train_stage.run(params, root)
        evaluate_stage.run(params, root)
        register_stage.run(params, root)
        return registered(root)

    assert settle({"weak": WEAK})["champion"]["job"] == "weak"
    improved = settle({"weak": WEAK, "good": GOOD})
    assert (improved["champion"]["job"], improved["previous"]["job"]) == ("good", "weak")
    assert improved["decision"]["promoted"] is True
    assert improved["decision"]["low"] > 0
    answer_as_measured(root, "good", monkeypatch)
    alike = settle({"alike": {**GOOD, "epochs": 9}})
    assert alike["champion"]["job"] == "good"
    assert alike["challenger"]["job"] == "alike"
    assert alike["decision"]["promoted"] is False
    asked: list[Any] = []
    monkeypatch.setattr(champion, "rows", lambda *arguments: asked.append(arguments))
    assert settle({"alike": {**GOOD, "epochs": 9}}) == alike
    assert asked == [], "the same pair is judged once"


def test_what_left_the_roster_stays_registered(
    measured: tuple[Path, Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, before = Path(shutil.copytree(measured[0], tmp_path / "narrowed")), registered(measured[0])
    score = scores.words(store.read_json(root / "metrics/good.json"))
    answer_as_measured(root, "good", monkeypatch)
    narrow = support.write_params(root, {"good": GOOD, "weak": WEAK}, roster=["weak"])
    train_stage.run(narrow, root)
    evaluate_stage.run(narrow, root)
    register_stage.run(narrow, root)
    assert not (root / "metrics/good.json").exists()
    assert registered(root)["champion"] == before["champion"]
    assert registered(root)["score"] == before["score"] == score
    assert store.holds(root / "models/good", before["champion"]["fingerprint"])

    (root / "metrics/weak.json").unlink()  # as where no job of this dataset and task is in the roster
    register_stage.run(narrow, root)
    kept = registered(root)
    assert (kept["champion"], kept["score"]) == (before["champion"], score)
    other = tmp_path / "other"  # MLflow remembers databases that this process has opened
    shutil.copytree(root, other, ignore=shutil.ignore_patterns("mlruns"))
    register_stage.run(narrow, other)
    again = registered(other)
    assert (again["champion"], again["score"], again["decision"]) == (kept["champion"], score, kept["decision"])
    version = tracking.client(other).get_model_version_by_alias(MODEL, "champion")
    assert version.tags[FINGERPRINT] == before["champion"]["fingerprint"]
    (other / "reports/registered.json").unlink()
    register_stage.run(narrow, other)
    assert registered(other)["champion"] == before["champion"]
