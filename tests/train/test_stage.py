"""Which jobs are stale, and what becomes of the others."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import processes, store
from pipeline.errors import UserError
from pipeline.params import LATER, Params
from pipeline.train import history, ray_train, stage
from pipeline.train.job_state import JobState
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]
pytestmark = pytest.mark.usefixtures("here")


def trained(root: Path, params: Params, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the stage; the line that says what was stale."""
    capsys.readouterr()
    stage.run(params, root)
    return next(line for line in capsys.readouterr().out.splitlines() if "jobs" in line)


def test_one_changed_job_trains_alone_and_older_settings_come_back(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = {"a": {"seed": 1}, "b": {"seed": 2}}
    root, params = project(jobs)
    assert "2 of 2" in trained(root, params, capsys)
    assert "nothing to do" in trained(root, params, capsys)
    before = store.content_digest(root / "models/a")
    changed = support.write_params(root, {**jobs, "a": {"seed": 1, "lr": 0.01}})
    assert "1 of 2 jobs to train: a" in trained(root, changed, capsys)
    assert store.content_digest(root / "models/a") != before
    again = support.write_params(root, jobs)
    assert "nothing to do" in trained(root, again, capsys)
    assert store.content_digest(root / "models/a") == before


def test_pulled_models_are_not_trained_again(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root, params = project({"a": {}})
    trained(root, params, capsys)
    shutil.rmtree(root / ".work")
    assert "nothing to do" in trained(root, params, capsys)


def test_a_damaged_model_is_put_back(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root, params = project({"a": {}})
    trained(root, params, capsys)
    weights = root / "models/a/weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.unlink()
    weights.write_bytes(data)
    assert "nothing to do" in trained(root, params, capsys)
    store.verify(root / "models/a")


def test_a_model_lost_everywhere_is_trained_again(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root, params = project({"a": {}})
    trained(root, params, capsys)
    order = support.job_specs(root, params)["a"]
    shutil.rmtree(root / "models/a")
    shutil.rmtree(order.model)
    assert "1 of 1 jobs" in trained(root, params, capsys)


def test_a_job_that_left_the_roster_leaves_models(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root, params = project({"a": {"seed": 1}, "b": {"seed": 2}})
    trained(root, params, capsys)
    trained(root, support.write_params(root, {"b": {"seed": 2}}), capsys)
    assert [path.name for path in (root / "models").iterdir() if path.is_dir()] == ["b"]


def test_a_champion_that_left_the_roster_stays(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root, params = project({"a": {"seed": 1}, "b": {"seed": 2}})
    trained(root, params, capsys)
    mark = support.job_specs(root, params)["a"].fingerprint
    entry = {"champion": {"job": "a", "fingerprint": mark}, "models": {mark: "a"}}
    store.write_json(root / "reports/registered.json", {"digits-classification": entry})
    narrow = support.write_params(root, {"b": {"seed": 2}}, train={"keep_gb": 1e-9})
    trained(root, narrow, capsys)
    assert store.holds(root / "models/a", mark)
    shutil.rmtree(root / "models/a")
    trained(root, narrow, capsys)  # the bound on earlier work left it there
    assert store.holds(root / "models/a", mark)
    (root / "reports/registered.json").unlink()
    trained(root, narrow, capsys)
    assert not (root / "models/a").exists()


def test_names_workers_and_roster_decide_nothing(project: Project) -> None:
    root, params = project({"a": {}})
    mark = support.job_specs(root, params)["a"].fingerprint
    same = support.write_params(root, {"renamed": {"workers": 2, "loader_workers": 1}})
    assert support.job_specs(root, same)["renamed"].fingerprint == mark
    other = support.write_params(root, {"a": {"weight_decay": 0.5}})
    assert support.job_specs(root, other)["a"].fingerprint != mark


def test_a_setting_that_came_later_makes_no_earlier_job_stale(project: Project) -> None:
    """The record of a job that was trained before there was a `fit` says nothing of it, and neither does today's."""
    root, params = project({"a": {}})
    earlier = support.job_specs(root, params)["a"]
    assert LATER
    assert not LATER & earlier.decided["job"].keys()
    written = support.write_params(root, {"a": {"fit": "stretch"}})
    assert support.job_specs(root, written)["a"].fingerprint == earlier.fingerprint
    other = support.write_params(root, {"a": {"fit": "letterbox"}})
    assert support.job_specs(root, other)["a"].decided["job"]["fit"] == "letterbox"
    assert support.job_specs(root, other)["a"].fingerprint != earlier.fingerprint


def test_the_policy_decides(project: Project) -> None:
    root, params = project({"a": {"augmentation": "light"}, "b": {}})
    marks = {name: order.fingerprint for name, order in support.job_specs(root, params).items()}
    assert marks["a"] != marks["b"]


def test_two_equal_jobs_are_refused(project: Project) -> None:
    root, params = project({"a": {}, "b": {}})
    with pytest.raises(UserError, match=r"jobs\.a and jobs\.b"):
        stage.job_specs(params, root)


def test_a_failed_job_is_reported_and_the_others_end_well(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root, params = project({"bad": {"lr": 1e38}, "good": {}})
    stage.run(params, root)
    failed = store.read_json(root / "models/failed.json")
    assert list(failed) == ["bad"]
    assert "not finite" in failed["bad"]["reason"]
    assert "train: bad failed: " in capsys.readouterr().err
    assert store.holds(root / "models/good", support.job_specs(root, params)["good"].fingerprint)


def test_where_no_job_ends_well_the_stage_fails(project: Project) -> None:
    root, params = project({"bad": {"lr": 1e38}})
    with pytest.raises(UserError, match="all jobs failed"):
        stage.run(params, root)


def test_nothing_time_like_is_in_models(project: Project) -> None:
    root, params = project({"a": {}})
    stage.run(params, root)
    assert {path.name for path in (root / "models/a").iterdir()} == {
        "record.json",
        "history.csv",
        "manifest.json",
        "model.json",
        "weights.safetensors",
    }
    names = history.read(root / "models/a/history.csv")[0]
    assert not [name for name in names if "time" in name or "_s" in name]
    assert JobState.of(support.job_specs(root, params)["a"]).read()["seconds"] > 0


def test_chosen_jobs_train_alone_and_others_that_are_up_to_date_stay(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    root, params = project({"a": {"seed": 1}, "b": {"seed": 2}, "c": {"seed": 3, "pretrained": {"job": "b"}}})
    assert "2 of 2 jobs to train: b, c" in trained(root, params.choose(["c"]), capsys)
    assert "1 of 1 jobs to train: a" in trained(root, params.choose(["a"]), capsys)
    assert store.read_json(root / "models/kept.json") == ["b", "c"]
    assert all(
        store.holds(root / "models" / name, item.fingerprint) for name, item in support.job_specs(root, params).items()
    )
    assert "nothing to do, 3 jobs" in trained(root, params, capsys)
    assert store.read_json(root / "models/kept.json") == []


def test_other_models_that_are_not_up_to_date_leave(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root, params = project({"a": {"seed": 1}, "b": {"seed": 2}, "c": {"seed": 3, "pretrained": {"job": "b"}}})
    trained(root, params, capsys)
    edited: dict[str, dict[str, Any]] = {
        "a": {"seed": 1},
        "b": {"seed": 4},
        "c": {"seed": 3, "pretrained": {"job": "b"}},
    }
    trained(root, support.write_params(root, edited).choose(["a"]), capsys)
    assert store.read_json(root / "models/kept.json") == []
    assert [path.name for path in (root / "models").iterdir() if path.is_dir()] == ["a"]


def test_a_dataset_without_keypoints_is_refused_before_anything_is_trained(project: Project) -> None:
    root, params = project({"a": {"task": "keypoint_detection", "architecture": "mask_rcnn", "size": 64}})
    with pytest.raises(
        UserError, match=r"jobs\.a\.dataset: keypoint_detection needs boxes, labels, keypoints, which digits"
    ):
        stage.job_specs(params, root)


RESNET = {"architecture": "resnet", "options": {"depth": 20, "width": 4}, "size": 16}


@pytest.mark.parametrize(("settings", "decides"), [(RESNET, True), ({}, False)])
def test_a_set_number_of_processes_decides_where_batches_are_normalised(
    project: Project, settings: dict[str, object], decides: bool
) -> None:
    """Each process normalises its part of a batch by itself, so two make other weights than one."""
    root, params = project({"a": settings})
    job = params.jobs["a"]
    variants = {value: job.model_copy(update={"workers": value}) for value in (1, 2, "auto")}
    marks = {value: stage.job_spec("a", variant, params, root).fingerprint for value, variant in variants.items()}
    left_out = stage.job_spec("a", job, params, root).fingerprint
    assert marks["auto"] == left_out, "a number that nobody set makes nothing stale"
    assert (len({left_out, marks[1], marks[2]}) == 3) is decides
    assert (len({left_out, marks[1], marks[2]}) == 1) is not decides


def test_a_run_that_was_killed_leaves_nothing_even_where_all_is_trained(project: Project) -> None:
    root, params = project({"a": {}})
    stage.run(params, root)
    (root / ".work/ray/.run.abc").mkdir(parents=True)
    stage.run(params, root)
    assert not list((root / ".work/ray").iterdir())


def test_settings_of_the_machine_decide_where_they_are_set(project: Project) -> None:
    root, params = project({"a": {}})
    job = params.jobs["a"]

    def mark(**changes: object) -> str:
        return stage.job_spec("a", job.model_copy(update=changes), params, root).fingerprint

    assert mark(precision="auto") == mark()
    assert mark(precision="float32") != mark()


def test_cores_are_shared_out_over_the_chosen_jobs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job gets all, two on eight get four each, and one that has begun keeps what it had."""
    numbers = {"one": 1, "two": 2, "three": 3, "four": 4}
    root, _ = project({"one": {"seed": 1}})
    monkeypatch.setattr(processes, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(ray_train, "run", lambda *_: None)

    def threads(*names: str, **settings: Any) -> list[int]:
        params = support.write_params(root, {name: {"seed": numbers[name]} for name in names}, train=settings)
        with pytest.raises(UserError, match="all jobs failed"):
            stage.run(params, root)
        return [JobState.of(job_spec).read()["threads"] for job_spec in support.job_specs(root, params).values()]

    assert threads("one") == [8]
    assert threads("one", "two") == [8, 4]
    assert threads("one", "two", "three", worker_groups=1) == [8, 4, 8]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads("one", "four") == [8, 3]
