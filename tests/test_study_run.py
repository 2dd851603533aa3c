"""A small study through train, evaluate, register and report."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from pipeline import checkpoint, sample, shards, store, tracking
from pipeline.evaluate import gradients
from pipeline.evaluate import stage as evaluate_stage
from pipeline.params import Params
from pipeline.register import stage as register_stage
from pipeline.report import stage as report_stage
from pipeline.train import stage as train_stage
from tests.helpers import support

NET = {"architecture": "resnet", "options": {"depth": 20, "width": 2}}
STUDY: dict[str, Any] = {
    "question": "Is the shifted image harder?",
    "paper": "nobody",
    "claims": ["deepened = net", "net > linear"],
    "base": {**support.LINEAR, "epochs": 1},
    "variants": {
        "linear": {},
        "net": NET,
        "deepened": {
            **NET,
            "options": {"depth": 32, "width": 2, "zero_gamma": True},
            "pretrained": {"job": "small.net"},
            "epochs": 0,
        },
    },
    "seeds": [0, 1],
    "under": ["far"],
    "gradients": True,
}


@pytest.fixture(scope="module")
def ran(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """A root where a job and a study were run; `own` is what `small.linear.0` is, too."""
    root = tmp_path_factory.mktemp("study")
    shutil.copytree(digits / "data", root / "data")
    far = {"far": {"online": [{"shift": {"limit": 0.5}}]}}
    own = {"own": {"epochs": 1}}
    params = support.write_params(root, own, studies={"small": STUDY}, augmentation=far, roster=["own", "small"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.train.ray_train.run", support.train_here)
        train_stage.run(params, root)
    evaluate_stage.run(params, root)
    register_stage.run(params, root)
    return root, params


def metrics(root: Path, job: str) -> dict[str, Any]:
    return dict(store.read_json(root / "metrics" / f"{job}.json"))


def test_a_variant_that_is_another_job_is_trained_once(ran: tuple[Path, Params]) -> None:
    root, _ = ran
    marks = {name: store.manifest(root / "models" / name)["fingerprint"] for name in ("own", "small.linear.0")}
    assert marks["own"] == marks["small.linear.0"]
    assert metrics(root, "own")["top1"] == metrics(root, "small.linear.0")["top1"]


def test_blocks_that_add_nothing_give_the_shallow_nets_answers(ran: tuple[Path, Params]) -> None:
    root, _ = ran
    for seed in (0, 1):
        rows = [pq.read_table(root / f"evaluations/small.{name}.{seed}/test.parquet") for name in ("net", "deepened")]
        assert rows[0]["nll"].to_pylist() == rows[1]["nll"].to_pylist()
    weights = [len(checkpoint.load(root / f"models/small.{name}.0")[0].state_dict()) for name in ("net", "deepened")]
    assert weights[0] < weights[1]


def test_changed_images_are_the_same_for_every_model_and_harder(ran: tuple[Path, Params]) -> None:
    root, _ = ran
    found = metrics(root, "small.linear.0")
    assert found["top1 under far_low"] <= found["top1 under far"] <= found["top1 under far_high"] < found["top1"]
    tables = [
        pq.read_table(root / f"evaluations/small.{name}.0/test-under-far.parquet") for name in ("net", "deepened")
    ]
    assert tables[0].equals(tables[1])
    drawn = pq.read_table(root / "evaluations/small.linear.0/draws.parquet")
    assert {"top1", "top1 under far"} <= set(drawn.column_names)
    assert "recall[3]" not in drawn.column_names
    assert "top1 under far" not in metrics(root, "own")


def test_a_study_has_runs_but_no_versions_and_no_pictures(ran: tuple[Path, Params]) -> None:
    root, params = ran
    register_stage.run(params, root)
    client = tracking.client(root)
    number = client.get_experiment_by_name("digits/classification").experiment_id
    runs = {run.info.run_name: run.info.status for run in client.search_runs([number])}
    names = {f"small.{name}.{seed}" for name in STUDY["variants"] for seed in (0, 1)} - {"small.linear.0"}
    assert runs == dict.fromkeys({"own", *names}, "FINISHED")
    assert [version.name for version in client.search_model_versions()] == ["digits-classification"]
    assert set(store.read_json(root / "reports/registered.json")["digits-classification"]["models"].values()) == {"own"}
    assert not list((root / "evaluations/small.net.0").glob("*.png"))
    assert set(store.read_json(root / "reports/speed.json")) == {"own"}


def test_the_report_says_what_held(ran: tuple[Path, Params], capsys: pytest.CaptureFixture[str]) -> None:
    root, params = ran
    report_stage.run(params, root)
    told = capsys.readouterr().out
    assert "report: small: deepened = net: held (deepened − net in top1: +0.000)" in told
    assert "report: 1 of 1 jobs" in told


def test_gradients_are_those_of_the_loss_at_the_jobs_own_weights(ran: tuple[Path, Params]) -> None:
    root, params = ran
    found = store.read_json(root / "evaluations/small.net.1/gradients.json")
    assert len(found["layers"]) == len(found["before"]) == len(found["after"]) == 19
    assert found["layers"][0].startswith("conv1")
    assert all(norm > 0 for norm in found["before"])
    job, prepared = params.jobs["small.net.1"], root / "data/prepared/digits"
    assert gradients.measure(root / "models/small.net.1", job, prepared) == found
    other = gradients.measure(root / "models/small.net.1", params.jobs["small.net.0"], prepared)
    assert other["after"] == found["after"]
    assert other["before"] != found["before"]


def test_a_gradient_is_what_a_small_step_changes(ran: tuple[Path, Params]) -> None:
    """By finite differences along the gradient, independent of autograd."""
    root, _ = ran
    learner, _ = checkpoint.load(root / "models/small.net.0")
    stored = shards.split(root / "data/prepared/digits", "train")
    index = torch.linspace(0, len(stored) - 1, gradients.IMAGES).int().tolist()
    from pipeline.tasks import classification

    items = [sample.resized(stored[place], 8, 8) for place in index]
    images, labels = classification.collate(items, learner.settings)
    learner.double().train()
    layer = dict(learner.network.named_modules())["conv1"]
    weight = layer.get_parameter("weight")
    (loss,) = learner(images, labels, "train").values()
    (direction,) = torch.autograd.grad(loss, weight)
    step = 1e-5 * direction / direction.norm()
    with torch.no_grad():
        weight += step
        (after,) = learner(images, labels, "train").values()
        weight -= 2 * step
        (before,) = learner(images, labels, "train").values()
    found = store.read_json(root / "evaluations/small.net.0/gradients.json")
    assert float(after - before) / 2e-5 == pytest.approx(found["after"][0], rel=0.03)
