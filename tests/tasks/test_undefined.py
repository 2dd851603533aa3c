"""A split with nothing to score stops no stage, in any task: what is undefined is said, and is registered as nothing.

Every task of the listing goes from the checks through one epoch and evaluate to register, with small networks.
"""

import dataclasses
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import plugins, scores, store, tracking
from pipeline.errors import UserError
from pipeline.evaluate import stage as evaluate_stage
from pipeline.params import Params
from pipeline.prepare import stage as prepare_stage
from pipeline.register import stage as register_stage
from pipeline.train import checks
from pipeline.train import stage as train_stage
from tests.helpers import bare, support
from tests.train import golden

TASKS = plugins.names("tasks")
#: what the emptied split lacks; an accuracy of one class is defined, and so is the IoU of the background
LACKS = {
    "detection": "no box",
    "generation": "fewer than 2 images",
    "instance_segmentation": "no object",
    "keypoint_detection": "no object with keypoints",
    "localization": "no box",
}
EVERYWHERE = "train val test"


def job(task: str, dataset: str) -> dict[str, Any]:
    settings = {key: value for key, value in golden.JOBS[task].items() if key not in ("train_images", "augmentation")}
    return {**settings, "loss": {}, "channels": 3, "task": task, "dataset": dataset, "epochs": 1}


def write(root: Path, tasks: list[str], splits: list[str]) -> Params:
    """A project with a job for each task and each choice of emptied splits, on data of its own."""
    names = {f"{task}-without-{where.replace(' ', '-')}": (task, where) for task in tasks for where in splits}
    datasets = {name: bare.dataset(task, where) for name, (task, where) in names.items()}
    return support.write_params(root, {name: job(names[name][0], name) for name in names}, datasets=datasets)


@dataclasses.dataclass
class Outcome:
    """A project after register, and what the stages logged."""

    root: Path
    params: Params
    lines: list[str]

    def line(self, *words: str) -> str:
        """The one line with all these words."""
        (line,) = [line for line in self.lines if all(word in line for word in words)]
        return line


class Lines(logging.Handler):
    """Keeps messages."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """All tasks, each once without annotations in val and once in test, from prepare to register."""
    root, heard = tmp_path_factory.mktemp("undefined"), Lines()
    logger = logging.getLogger("pipeline")
    level = logger.level
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)
    with pytest.MonkeyPatch.context() as patch:
        bare.use(root, patch)
        patch.setattr("pipeline.train.ray_train.run", support.train_here)
        patch.setattr("pipeline.evaluate.speed.measure", lambda *_: {"latency_ms": 1.0})
        params = write(root, TASKS, ["val", "test"])
        support.prepared(root, params)
        checks.check(params, root)
        train_stage.run(params, root)
        evaluate_stage.run(params, root)
        register_stage.run(params, root)
        yield Outcome(root, params, heard.lines)
    logger.removeHandler(heard)
    logger.setLevel(level)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluate_says_what_is_undefined_and_goes_on(outcome: Outcome, task: str, split: str) -> None:
    name = f"{task}-without-{split}"
    metrics = store.read_json(outcome.root / "metrics" / f"{name}.json")
    primary, reasons = metrics["primary"], metrics.get(scores.UNDEFINED, {})
    key = f"val_{primary}" if split == "val" else primary
    undefined = {
        metric for metric, value in metrics.items() if value is None and not metric.endswith(("_low", "_high"))
    }
    assert undefined == set(reasons)
    assert all(reason.endswith((" in val", " in test")) for reason in reasons.values())
    assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))
    line = outcome.line(f"evaluate: {name} ")
    if task in LACKS:
        assert metrics[key] is None
        assert f"{primary} undefined: {LACKS[task]} in {split}" in line
    else:
        assert isinstance(metrics[key], float)
        assert "undefined" not in line


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_chosen_by_an_undefined_score(outcome: Outcome, task: str) -> None:
    name = f"{task}-without-val"
    entry = store.read_json(outcome.root / "reports/registered.json")[f"{name}-{task}"]
    line = outcome.line(f"register: {name}-{task}:")
    if task in LACKS:
        assert entry["champion"] is None
        assert entry["decision"]["promoted"] is False
        assert "no champion" in line
        assert f"undefined: {LACKS[task]} in val" in line
    else:
        assert entry["champion"]["job"] == name
    assert store.read_json(outcome.root / "reports/registered.json")[f"{task}-without-test-{task}"]["champion"]


def test_mlflow_has_runs_and_versions_of_all_and_no_number_for_what_is_undefined(outcome: Outcome) -> None:
    client = tracking.client(outcome.root)
    for name, settings in outcome.params.jobs.items():
        (run,) = client.search_runs([client.get_experiment_by_name(f"{name}/{settings.task}").experiment_id])
        assert client.search_model_versions(f"name = '{name}-{settings.task}'")
        assert all(math.isfinite(value) for value in run.data.metrics.values())
        metrics = store.read_json(outcome.root / "metrics" / f"{name}.json")
        for metric in metrics.get(scores.UNDEFINED, {}):
            assert f"test/{tracking.metric_name(metric)}" not in run.data.metrics


def test_a_second_register_says_the_same(outcome: Outcome) -> None:
    before = store.read_json(outcome.root / "reports/registered.json")
    register_stage.run(outcome.params, outcome.root)
    assert store.read_json(outcome.root / "reports/registered.json") == before


@pytest.mark.parametrize("task", sorted({*TASKS} - {"generation"}))
def test_what_can_not_be_learnt_is_refused_before_training(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.use(tmp_path, monkeypatch)
    params = write(tmp_path, [task], [EVERYWHERE])
    if task == "localization":  # its labels are there, and are all that it learns from
        params.datasets[f"{task}-without-train-val-test"].options["one_class"] = True
    support.prepared(tmp_path, params)
    with pytest.raises(UserError) as caught:
        checks.check(params, tmp_path)
    (line,) = str(caught.value).splitlines()
    assert f"jobs.{task}-without-train-val-test.dataset" in line
    assert "in train" in line


@pytest.mark.parametrize("task", ["detection", "classification", "segmentation"])
def test_a_class_that_train_lacks_is_refused_by_prepare(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.use(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"class '\w+': .* but none in train"):
        prepare_stage.run(write(tmp_path, [task], ["train"]), tmp_path)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_empty_split_is_refused_by_prepare(split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare.use(tmp_path, monkeypatch)
    data = bare.dataset("generation", split)
    data["options"]["most"] = 0
    data["split"] = {"val": 1e-9, "test": 1e-9}  # so that no train images become those of the empty split
    params = support.write_params(tmp_path, {"a": job("generation", "empty")}, datasets={"empty": data})
    with pytest.raises(UserError, match=rf"split {split}: has no image|none in {split}"):
        prepare_stage.run(params, tmp_path)
