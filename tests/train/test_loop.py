"""The loop's promises: the same bytes again, also when interrupted; a bad job fails alone and says why."""

import dataclasses
import math
import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline import checkpoint, store
from pipeline.params import Params
from pipeline.train import follow, history, loader, loop
from pipeline.train.job_state import JobSpec, JobState
from pipeline.train.ranks import Ranks
from pipeline.train.step import JobFailedError
from tests.helpers import learners, support

Project = Callable[..., tuple[Path, Params]]
#: an odd number of images in five batches
SMALL = {"train_images": learners.TRAIN_IMAGES, "batch": 50}
RICH = {"augmentation": "light", "epochs": 3, "ema": 0.9, "warmup": 1, "clip": 1.0, "weight_decay": 0.001}


def one(project: Project, **settings: Any) -> JobSpec:
    root, params = project({"a": {**SMALL, **settings}})
    return support.job_specs(root, params)["a"]


def elsewhere(job_spec: JobSpec, name: str, **settings: Any) -> JobSpec:
    """The same order with its own work folder."""
    changed = job_spec.job.model_copy(update=settings)
    return dataclasses.replace(job_spec, work=job_spec.work.with_name(name), job=changed)


def test_same_settings_same_bytes_and_another_seed_others(project: Project) -> None:
    job_spec = one(project, **RICH)
    for name, seed in (("first", 0), ("second", 0), ("other", 1)):
        loop.train(elsewhere(job_spec, name, seed=seed), Ranks())
    digests = {
        name: store.content_digest(job_spec.work.with_name(name) / "model") for name in ("first", "second", "other")
    }
    assert digests["first"] == digests["second"] != digests["other"]


def test_interrupted_after_any_epoch_it_ends_with_the_same_bytes(project: Project) -> None:
    job_spec = one(project, **RICH)
    loop.train(job_spec, Ranks())
    for epochs in (1, 2, 3):
        stopped = elsewhere(job_spec, f"stopped{epochs}")
        trainer = loop.Trainer(stopped, Ranks())
        for _ in range(epochs):
            trainer.epoch()
        loop.train(stopped, Ranks())
        assert JobState.of(stopped).read()["resumed_at_step"] == trainer.step > 0
        assert store.content_digest(stopped.model) == store.content_digest(job_spec.model)


FORGETS = {
    "classifier": (learners.CLASSIFIER, ("optimizer", "average", "step")),  # it draws nothing from torch's stream
    "segmenter": (learners.SEGMENTER, ("optimizer", "average", "step", "random numbers")),
    "gan": (learners.GAN, ("optimizer", "average", "step", "random numbers")),
}


def to_the_end(trainer: loop.Trainer) -> dict[str, torch.Tensor]:
    """The weights that the last epoch would store."""
    while not trainer.finished:
        trainer.epoch()
    with trainer._evaluated() as learner:
        return {name: value.clone() for name, value in learner.network.state_dict().items()}


def resumed(job_spec: JobSpec, forgets: str) -> dict[str, torch.Tensor]:
    """The last weights of a resume that forgets something."""
    trainer = loop.Trainer(job_spec, Ranks())
    forgotten: dict[str, list[Any]] = {
        "optimizer": list(trainer.stepper.optimizers.values()),
        "average": [trainer.stepper.average],
    }
    for item in forgotten.get(forgets, []):
        item.load_state_dict = lambda state: None
    trainer.resume()
    if forgets == "step":  # and with it the schedule
        trainer.step = 0
    with pytest.MonkeyPatch.context() as patch:
        if forgets == "random numbers":
            patch.setattr(torch, "manual_seed", lambda seed: None)
        return to_the_end(trainer)


@pytest.mark.parametrize("name", FORGETS)
def test_controls_a_resume_that_forgets_differs(prepared: Path, tmp_path: Path, name: str) -> None:
    job, forgets = FORGETS[name]
    job_spec = learners.job_specs(tmp_path, prepared, {name: {**job, "epochs": 2}})[name]
    whole = to_the_end(loop.Trainer(job_spec, Ranks()))
    stopped = elsewhere(job_spec, "stopped")
    loop.Trainer(stopped, Ranks()).epoch()
    equal = {}
    for forgotten in ("nothing", *forgets):
        again = elsewhere(job_spec, forgotten)
        shutil.copytree(stopped.work, again.work)
        weights = resumed(again, forgotten)
        equal[forgotten] = all(torch.equal(whole[key], weights[key]) for key in whole)
    assert equal == {"nothing": True, **dict.fromkeys(forgets, False)}


def test_snapshots_are_of_every_epoch_also_after_a_resume_and_change_nothing(prepared: Path, tmp_path: Path) -> None:
    job_spec = learners.job_specs(tmp_path, prepared, {"gan": {**learners.GAN, "epochs": 3}})["gan"]
    whole, stopped, blind = (elsewhere(job_spec, name) for name in ("whole", "stopped", "blind"))
    loop.train(whole, Ranks())
    trainer = loop.Trainer(stopped, Ranks())
    trainer.epoch()
    shutil.copytree(stopped.work / "checkpoint", tmp_path / "checkpoint")
    trainer.epoch()  # killed between its picture and its checkpoint
    shutil.rmtree(stopped.work / "checkpoint")
    shutil.copytree(tmp_path / "checkpoint", stopped.work / "checkpoint")
    loop.train(stopped, Ranks())
    assert list(checkpoint.snapshots(whole.model)) == [1, 2, 3]
    pictures = {path.read_bytes() for path in checkpoint.snapshots(whole.model).values()}
    assert len(pictures) == 3, "it learned, so each shows something else"
    assert store.content_digest(stopped.model) == store.content_digest(whole.model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Trainer, "_snapshot", lambda self: None)
        loop.train(blind, Ranks())
    assert not checkpoint.snapshots(blind.model)
    assert (blind.model / checkpoint.WEIGHTS).read_bytes() == (whole.model / checkpoint.WEIGHTS).read_bytes()


def test_long_trainings_have_two_dozen_snapshots_and_the_last(prepared: Path, tmp_path: Path) -> None:
    job_spec = learners.job_specs(tmp_path, prepared, {"gan": {**learners.GAN, "epochs": 101}})["gan"]
    trainer = loop.Trainer(job_spec, Ranks())
    for trainer.next_epoch in range(1, 102):
        trainer._snapshot()
    assert list(checkpoint.snapshots(job_spec.work)) == [*range(4, 101, 4), 101]


def test_killed_in_an_epoch_it_resumes_to_the_same_bytes(project: Project) -> None:
    job_spec = one(project, **{**RICH, "epochs": 8})
    whole = elsewhere(job_spec, "whole")
    loop.train(whole, Ranks())
    child = multiprocessing.get_context("fork").Process(target=loop.train, args=(job_spec, Ranks()))
    child.start()
    deadline = time.monotonic() + 60
    while not (job_spec.work / "checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not job_spec.model.exists()
    loop.train(job_spec, Ranks())
    assert 0 < JobState.of(job_spec).read()["resumed_at_step"] < JobState.of(job_spec).read()["step"]
    assert store.content_digest(job_spec.model) == store.content_digest(whole.model)


def test_a_loss_that_is_not_finite_fails_the_job_and_names_the_remedy(project: Project) -> None:
    job_spec = one(project, lr=1e38, epochs=3)
    with pytest.raises(JobFailedError, match=r"step \d+ \(epoch \d\).*jobs\.a\.lr"):
        loop.train(job_spec, Ranks())
    assert not job_spec.model.exists()


def test_the_best_epoch_is_kept_not_the_last(project: Project) -> None:
    job_spec = one(project, epochs=6, lr=2.0, schedule="constant")
    loop.train(job_spec, Ranks())
    rows = history.read(job_spec.model / history.FILE)
    values = [row["val/top1"] for row in rows]
    best = store.read_json(job_spec.model / "model.json")["best_epoch"]
    assert best == values.index(max(values)) + 1
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]


def test_where_no_score_is_defined_on_val_the_last_epoch_is_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no patience ends the training; from the first defined score on, the best counts."""
    scores = iter([math.nan] * 4 + [math.nan, 0.5, math.nan, 0.4])
    monkeypatch.setattr(loop.Trainer, "_validate", lambda _: {"top1": next(scores)})
    job_spec = one(project, epochs=4, patience=1)
    loop.train(job_spec, Ranks())
    assert store.read_json(job_spec.model / "model.json")["best_epoch"] == 4
    assert all("val/top1" not in row for row in history.read(job_spec.model / history.FILE))
    assert "val top1 undefined" in follow.line("a", JobState.of(job_spec).read())
    later = elsewhere(job_spec, "later", patience=3)
    loop.train(later, Ranks())
    assert store.read_json(later.model / "model.json")["best_epoch"] == 2


def test_patience_ends_training_early(project: Project) -> None:
    job_spec = one(project, epochs=60, lr=0.5, patience=2, schedule="constant")
    loop.train(job_spec, Ranks())
    rows = history.read(job_spec.model / history.FILE)
    assert len(rows) < 60
    values = [row["val/top1"] for row in rows]
    assert len(values) - 1 - values.index(max(values)) == 2


def test_no_epochs_gives_the_initial_network(project: Project) -> None:
    job_spec = one(project, epochs=0)
    loop.train(job_spec, Ranks())
    weights = load_file(job_spec.model / "weights.safetensors")
    initial = loop.Trainer(elsewhere(job_spec, "other"), Ranks()).learner.network.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in initial.items())
    assert history.read(job_spec.model / history.FILE) == []


MATCHER = {"task": "detection", "architecture": "template", "dataset": "scenes", "channels": 1, "size": 64, "batch": 8}


def test_what_is_fitted_and_not_trained_is_stored(prepared: Path, tmp_path: Path) -> None:
    job_spec = learners.job_specs(tmp_path, prepared, {"a": {**MATCHER, "epochs": 0}})["a"]
    for name in ("first", "second"):
        loop.train(elsewhere(job_spec, name), Ranks())
    first, second = (
        load_file(job_spec.work.with_name(name) / "model/weights.safetensors") for name in ("first", "second")
    )
    assert first["templates"].flatten(1).norm(dim=1).tolist() == pytest.approx([1.0] * 10)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_learns_nothing_by_gradient_has_no_epochs(prepared: Path, tmp_path: Path) -> None:
    job_spec = learners.job_specs(tmp_path, prepared, {"a": {**MATCHER, "epochs": 2}})["a"]
    with pytest.raises(JobFailedError, match=r"template has no parameters to train.* Set jobs\.a\.epochs: 0\."):
        loop.train(job_spec, Ranks())


def test_the_train_loss_is_the_mean_over_samples(project: Project) -> None:
    """With a rate too small to matter, the epoch's loss is that of the initial network over all samples."""
    job_spec = one(project, lr=1e-12, epochs=1, batch=100)
    trainer = loop.Trainer(job_spec, Ranks())
    keys = [[(0, index) for index in range(len(trainer.samples))]]
    ((images, labels),) = loader.Loader(trainer.samples, job_spec.job, trainer.settings).batches(keys)
    with torch.no_grad():
        expected = trainer.learner(images, labels)["cross_entropy"].item()
    trainer.epoch()
    assert trainer.history[0]["train/loss"] == pytest.approx(expected, rel=1e-3)


def test_settings_reach_the_step(project: Project) -> None:
    """Clipping bounds the first step of plain descent: |Δw| ≤ lr · clip."""
    job_spec = one(project, lr=0.1, momentum=0.0, clip=1e-3, schedule="constant", epochs=1, batch=2000)
    trainer = loop.Trainer(job_spec, Ranks())
    before = {name: value.clone() for name, value in trainer.learner.network.state_dict().items()}
    trainer.epoch()
    after = trainer.learner.network.state_dict()
    moved = torch.cat([(after[name] - before[name]).flatten() for name in before])
    assert moved.norm().item() == pytest.approx(1e-4, rel=1e-2)
