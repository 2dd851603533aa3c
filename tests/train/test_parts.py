"""A batch in parts is one step; a job that does not fit in memory is tried again so, and its batch stays its batch."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline import store
from pipeline.learners.base import Learner
from pipeline.params import Job, Params
from pipeline.train import loop, parts
from pipeline.train.job_state import JobSpec, JobState
from pipeline.train.ranks import Ranks
from pipeline.train.step import JobFailedError
from tests.helpers import learners, support

Project = Callable[..., tuple[Path, Params]]
BATCH, FITS = 100, 30


def one(project: Project, **settings: Any) -> JobSpec:
    root, params = project({"a": {"batch": BATCH, "epochs": 2, **settings}})
    return support.job_specs(root, params)["a"]


def elsewhere(job_spec: JobSpec, name: str, **settings: Any) -> JobSpec:
    changed = job_spec.job.model_copy(update=settings)
    return dataclasses.replace(job_spec, work=job_spec.work.with_name(name), job=changed)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 9])
def test_parts_are_the_batch(number: int) -> None:
    images, ids = torch.arange(7.0), torch.arange(7)
    boxes = [{"boxes": torch.full((2, 4), index)} for index in range(7)]
    made = [*parts.split((images, (ids, boxes)), number)]
    assert len(made) == min(number, 7)
    assert sum(fraction for _, fraction in made) == pytest.approx(1)
    assert [len(part[0]) / 7 for part, _ in made] == pytest.approx([fraction for _, fraction in made])
    assert torch.cat([part[0] for part, _ in made]).equal(images)
    assert torch.cat([part[1][0] for part, _ in made]).equal(ids)
    assert [int(box["boxes"][0, 0]) for part, _ in made for box in part[1][1]] == [*range(7)]


@pytest.mark.parametrize("clip", [None, 0.1])
def test_accumulated_gradients_are_those_of_the_whole_batch(project: Project, clip: float | None) -> None:
    job_spec = one(project, clip=clip)
    whole, cut = (elsewhere(job_spec, f"{count}", accumulate=count) for count in (1, 3))
    trainers = [loop.Trainer(each, Ranks()) for each in (whole, cut)]
    for trainer in trainers:
        trainer.epoch()
    first, second = (trainer.learner.network.state_dict() for trainer in trainers)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=1e-4)
    assert trainers[0].step == trainers[1].step
    losses = [trainer.history[0]["train/loss"] for trainer in trainers]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("name", ["GAN", "SEGMENTER", "DETECTOR"])
def test_every_kind_of_learner_takes_a_batch_in_parts(name: str, prepared: Path, tmp_path: Path) -> None:
    job = {**getattr(learners, name), "accumulate": 2, "epochs": 1}
    trainer = loop.Trainer(learners.job_specs(tmp_path, prepared, {"a": job})["a"], Ranks())
    batch = next(iter(trainer._batches(trainer.train_loader, list(trainer._plan(0))[:1])))
    assert torch.isfinite(trainer._step(batch, 1.0)["loss"])


@dataclass
class Memory:
    """So many images fit at once while a network trains; the sizes that were tried."""

    fits: int
    tried: list[int] = field(default_factory=list)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    limit, normalize = Memory(FITS), Learner.normalize

    def limited(learner: Learner, images: Tensor) -> Tensor:
        if learner.training:
            limit.tried.append(len(images))
            if len(images) > limit.fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return normalize(learner, images)

    monkeypatch.setattr(Learner, "normalize", limited)
    return limit


def test_a_job_that_does_not_fit_is_told_retried_and_done(
    project: Project, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_spec = one(project, augmentation="light", train_images=300)
    loop.train(job_spec, Ranks())
    entry = JobState.of(job_spec).read()
    assert entry["parts"] == 4
    assert all(word in entry["memory"] for word in ("out of memory", "50 images", "25 at once", "batch stays 100"))
    assert memory.tried[:2] == [100, 50]
    assert max(memory.tried[2:]) == 25
    record = store.read_json(job_spec.model / "record.json")
    assert record["in_effect"]["accumulate"] == 4
    monkeypatch.undo()
    by_hand = elsewhere(job_spec, "by hand", accumulate=4)
    loop.train(by_hand, Ranks())
    first, second = ((each.model / "weights.safetensors").read_bytes() for each in (job_spec, by_hand))
    assert first == second


def test_memory_that_runs_short_later_costs_one_epoch(project: Project, memory: Memory) -> None:
    """What was trained before stays, and a resume goes on in as many parts."""
    memory.fits = BATCH
    job_spec = one(project, epochs=3)
    trainer = loop.Trainer(job_spec, Ranks())
    trainer.epoch()
    memory.fits = 60
    loop.train(job_spec, Ranks())
    entry = JobState.of(job_spec).read()
    assert (entry["parts"], entry["resumed_at_step"]) == (2, trainer.step)
    assert len(entry["history"]) == 3
    assert loop.Trainer(job_spec, Ranks()).parts == 2


def test_one_image_that_does_not_fit_fails_the_job(project: Project, memory: Memory) -> None:
    memory.fits = 0
    job_spec = one(project, batch=3, train_images=30)
    with pytest.raises(JobFailedError, match=r"one image at once\. Lower jobs\.a\.size"):
        loop.train(job_spec, Ranks())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("DefaultCPUAllocator"), False),
    ],
)
def test_what_counts_as_a_lack_of_memory(error: Exception, expected: bool) -> None:
    assert parts.is_out_of_memory(error) is expected


def test_only_a_number_that_was_set_is_part_of_the_fingerprint() -> None:
    """So that no earlier job becomes stale, and none on a device with less memory."""
    job = Job(task="classification", architecture="linear", dataset="x")
    assert "accumulate" in job.undecisive
    assert "accumulate" not in job.model_copy(update={"accumulate": 2}).undecisive
