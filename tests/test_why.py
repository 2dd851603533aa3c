"""What made a job stale is told by setting, data, definition and library, and a fresh job is called fresh."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import fingerprint, store, why
from pipeline.augment import stage as augment_stage
from pipeline.params import Params
from pipeline.prepare import stage as prepare_stage
from pipeline.train import ray_train, record
from pipeline.train import stage as train_stage
from pipeline.train.job_state import JobState
from tests.helpers import few_digits, support

JOBS: dict[str, dict[str, Any]] = {
    "a": {"epochs": 1, "augmentation": "light"},
    "b": {"epochs": 1, "pretrained": {"job": "a"}},
}
Trained = tuple[Path, Params]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs, the second from the first, trained in this process; read-only: `trained` gives a copy."""
    root = tmp_path_factory.mktemp("original")
    params = support.write_params(root, JOBS)
    with pytest.MonkeyPatch.context() as patch, few_digits.only(300):
        patch.setattr(ray_train, "run", support.train_here)
        support.prepared(root, params)
        train_stage.run(params, root)
    return root


@pytest.fixture
def trained(original: Path, tmp_path: Path, here: None) -> Iterator[Trained]:
    """A copy of the two trained jobs; what is trained in it is trained in this process."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    with few_digits.only(300):
        yield tmp_path, support.write_params(tmp_path, JOBS)


def edited(root: Path, changes: dict[str, Any], **sections: Any) -> Params:
    """The params with changes of job a."""
    return support.write_params(root, {**JOBS, "a": {**JOBS["a"], **changes}}, **sections)


def reasons(root: Path, params: Params, job: str = "a") -> list[why.Reason]:
    explanation = why.explain(params, root, [job])[job]
    assert explanation.state == "stale"
    return list(explanation.reasons)


def test_a_trained_job_is_fresh(trained: Trained) -> None:
    root, params = trained
    explanations = why.explain(params, root, ["a", "b"])
    assert {item.state for item in explanations.values()} == {"fresh"}
    assert explanations["a"].in_effect == {"device": "cpu", "precision": "float32", "workers": 1, "threads": 1}
    assert not explanations["a"].reasons + explanations["a"].notes


def test_a_setting_is_reported_with_both_values(trained: Trained) -> None:
    root, _ = trained
    params = edited(root, {"lr": 0.01, "loss": {"label_smoothing": 0.1}})
    assert reasons(root, params) == [
        why.Reason("setting", "loss.label_smoothing", why.MISSING, 0.1),
        why.Reason("setting", "lr", 0.05, 0.01),
    ]
    assert [(item.kind, item.name) for item in reasons(root, params, "b")] == [("source", "pretrained")]


def test_a_changed_transform_is_reported(trained: Trained) -> None:
    root, _ = trained
    params = edited(root, {}, augmentation={"light": {"online": [{"shift": {"limit": 0.2}}]}})
    augment_stage.run(params, root)
    told = {item.kind: item for item in reasons(root, params)}
    assert told["augmentation"].before == [{"shift": {"limit": 0.1}}]
    assert told["augmentation"].now == [{"shift": {"limit": 0.2}}]


def test_changed_images_are_announced_and_then_reported(trained: Trained) -> None:
    root, _ = trained
    params = edited(root, {}, datasets={"digits": {"format": "digits", "seed": 1}})
    assert any("digits" in note and "prepare" in note for note in why.explain(params, root, ["b"])["b"].notes)
    prepare_stage.run(params, root)
    assert ("dataset", "dataset") in [(item.kind, item.name) for item in reasons(root, params, "b")]


def test_a_definition_is_reported_with_its_file(trained: Trained, tmp_path_factory: Any, monkeypatch: Any) -> None:
    root, params = trained
    copy = tmp_path_factory.mktemp("code")
    shutil.copytree(fingerprint.ROOT / "pipeline", copy / "pipeline")
    monkeypatch.setattr(fingerprint, "ROOT", copy)
    optimizer = copy / "pipeline/train/optimizer.py"
    text = optimizer.read_text().replace('group["lr"] = lr * group["scale"]', "added(group, lr)")
    optimizer.write_text(text + "\n\ndef added(group, lr):\n    group['lr'] = lr\n")
    (first, second) = sorted(reasons(root, params), key=lambda item: item.name)
    assert (first.kind, first.name, first.before) == ("definition", "pipeline/train/optimizer.py:added", why.MISSING)
    assert second.name == "pipeline/train/optimizer.py:set_rate"
    assert second.before != second.now


def test_a_library_is_reported_with_both_versions(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    root, params = trained
    before = fingerprint.minor_version("torch")
    monkeypatch.setattr(fingerprint, "minor_version", lambda name: "9.9")
    told = reasons(root, params)
    assert why.Reason("library", "torch", before, "9.9") in told
    assert {item.kind for item in told} == {"library"}


def test_a_damaged_model_is_reported(trained: Trained) -> None:
    root, params = trained
    shutil.rmtree(root / ".work/jobs")
    (root / "models/a/weights.safetensors").write_bytes(b"")
    (reason,) = reasons(root, params)
    assert (reason.kind, reason.name) == ("file", "models/a")


def test_a_job_without_a_model_is_new_and_an_interrupted_one_says_how_far_it_came(
    project: Callable[..., Trained],
) -> None:
    root, params = project({"a": {}})
    assert why.explain(params, root, ["a"])["a"] == why.Explanation("new")
    state = JobState.of(support.job_specs(root, params)["a"])
    state.path.parent.mkdir(parents=True)
    state.note(name="a", state="running", attempts=1, epoch=1.5)
    (note,) = why.explain(params, root, ["a"])["a"].notes
    assert "1.5 of 2" in note


def test_a_model_of_an_earlier_version_has_no_record(trained: Trained) -> None:
    root, _ = trained
    with store.folder(root / "models/a", "of an earlier version") as path:
        store.write_json(path / "model.json", {})
    shutil.rmtree(root / ".work/jobs")
    assert why.explain(edited(root, {}), root, ["a"])["a"].state == "unknown"


def test_without_prepared_images_a_job_waits(tmp_path: Path) -> None:
    params = support.write_params(tmp_path, {"a": {}})
    explanation = why.explain(params, tmp_path, ["a"])["a"]
    assert explanation.state == "waiting"
    assert "digits" in explanation.notes[0]


def test_a_finished_job_is_done_on_a_machine_of_other_devices(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained on CUDA in bfloat16 by two processes, since no setting says otherwise; done on a CPU."""
    root, params = trained
    elsewhere = {"device": "cuda:0", "precision": "bfloat16", "workers": 2}
    for path in (root / "models/a", support.job_specs(root, params)["a"].model):
        mark, kept = store.manifest(path)["fingerprint"], record.read(path)
        assert kept is not None
        kept["in_effect"] = elsewhere
        files = {name: (path / name).read_bytes() for name in store.manifest(path)["files"]}
        with store.folder(path, mark) as anew:
            for name, data in files.items():
                store.write_bytes(anew / name, data)
            store.write_json(anew / record.FILE, kept)
    monkeypatch.setattr(ray_train, "run", None)
    train_stage.run(params, root)
    assert why.explain(params, root, ["a"])["a"].in_effect == elsewhere
