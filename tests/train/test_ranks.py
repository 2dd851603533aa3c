"""Two real processes (gloo) through the real loop: every sample once, equal weights on both, the one-process result."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline import store
from pipeline.sample import Sample
from pipeline.train import loader, loop
from pipeline.train.job_state import JobSpec
from pipeline.train.ranks import Ranks, form_worker_group
from tests.helpers import learners, worlds

JOBS: dict[str, dict[str, Any]] = {
    "classifier": {**learners.CLASSIFIER, "workers": 2},
    "gan": {**learners.GAN, "workers": 2},
    "detector": {**learners.DETECTOR, "workers": 2},
}
WORLD = 2


class Apart(Ranks):
    """The control: processes that begin alike and each go by their own gradients."""

    def parallel(self, module: nn.Module, phases: int) -> nn.Module:
        return super().parallel(module, phases=2)  # no DDP

    def average_gradients(self, parameters: Any, phases: int) -> None:
        pass


class Noted(loader.Samples):
    """Samples that note which of them were asked for."""

    def __getitem__(self, key: loader.Key) -> Sample:
        self.__dict__.setdefault("asked", []).append(key[1])
        return super().__getitem__(key)


class Watched(loop.Trainer):
    """A trainer that notes what went into each step, and the weights after each epoch."""

    def __init__(self, job_spec: JobSpec, ranks: Ranks) -> None:
        super().__init__(job_spec, ranks)
        self.samples.__class__ = Noted
        self.notes: dict[str, list[Any]] = {"steps": [[]], "weights": []}

    def _step(self, batch: Any, weight: float) -> dict[str, Tensor]:
        self.notes["steps"][-1].append(self.samples.__dict__.pop("asked"))
        return super()._step(batch, weight)

    def epoch(self) -> None:
        super().epoch()
        weights = {name: value.detach().clone() for name, value in self.learner.network.named_parameters()}
        with self._evaluated() as learner:
            weights |= {f"stored {name}": value.clone() for name, value in learner.network.state_dict().items()}
        self.notes["weights"].append(weights)
        self.notes["steps"].append([])


def watch(job_spec: JobSpec, ranks: Ranks) -> dict[str, Any]:
    """Train to the end; what was noted: steps by epoch, weights by epoch, the learning curve."""
    trainer = Watched(job_spec, ranks)
    while not trainer.finished:
        trainer.epoch()
    trainer.finish()
    return {**trainer.notes, "steps": trainer.notes["steps"][:-1], "history": trainer.history}


def _start(rank: int, folder: str, together: dict[str, JobSpec], apart: dict[str, JobSpec]) -> None:
    worlds.meet(rank, f"{folder}/meeting")
    ranks = form_worker_group(rank, WORLD, WORLD)
    assert ranks is not None
    notes = {name: watch(job_spec, ranks) for name, job_spec in together.items()}
    notes |= {f"{name} apart": watch(job_spec, Apart(**vars(ranks))) for name, job_spec in apart.items()}
    torch.save({**notes, "phases": _phases(ranks)}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _phases(ranks: Ranks) -> dict[str, Any]:
    """Gradients of rank + 1 on one phase; the other phase's are left alone."""
    mine, other = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    mine.grad, other.grad = torch.full((3,), ranks.rank + 1.0), torch.full((3,), ranks.rank + 1.0)
    ranks.average_gradients([mine], phases=2)
    return {
        "mine": mine.grad,
        "other": other.grad,
        "shared": ranks.broadcast(ranks.rank),
        "all": ranks.gather(ranks.rank),
    }


JobSpecs = dict[str, JobSpec]
Notes = dict[str, Any]


@pytest.fixture(scope="module")
def job_specs(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> JobSpecs:
    return learners.job_specs(tmp_path_factory.mktemp("together"), prepared, JOBS)


@pytest.fixture(scope="module")
def both(job_specs: JobSpecs, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Notes]:
    """What two processes noted: each job, and each as a control."""
    folder = tmp_path_factory.mktemp("both")
    apart = learners.job_specs(tmp_path_factory.mktemp("apart"), prepared, JOBS)
    worlds.start(_start, str(folder), job_specs, apart)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


@pytest.fixture(scope="module")
def alone(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Notes:
    """What one process notes of the same jobs."""
    job_specs = learners.job_specs(tmp_path_factory.mktemp("alone"), prepared, JOBS)
    return {name: watch(job_spec, Ranks()) for name, job_spec in job_specs.items()}


@pytest.mark.parametrize("name", JOBS)
def test_each_sample_is_seen_once_an_epoch_by_one_rank(both: list[Notes], name: str) -> None:
    size = {"detector": 21}.get(name, learners.TRAIN_IMAGES)
    for epoch in zip(*(notes[name]["steps"] for notes in both), strict=True):
        first, second = ([index for step in steps for index in step] for steps in epoch)
        assert not set(first) & set(second)
        assert sorted(first + second) == list(range(size))
        assert len({len(step) for step in epoch[0]}) > 1 or len(first) != len(second), "it was cut evenly"


@pytest.mark.parametrize("name", JOBS)
def test_steps_are_those_of_one_process(both: list[Notes], alone: Notes, name: str) -> None:
    ours = zip(*(notes[name]["steps"] for notes in both), strict=True)
    for (first, second), theirs in zip(ours, alone[name]["steps"], strict=True):
        dealt = [set(a) | set(b) for a, b in zip(first, second, strict=True)]
        assert dealt == [set(step) for step in theirs]


def differing(both: list[Notes], name: str) -> list[int]:
    """How many weights and buffers differ between the ranks, by epoch."""
    epochs = zip(*(notes[name]["weights"] for notes in both), strict=True)
    return [sum(not torch.equal(first[key], second[key]) for key in first) for first, second in epochs]


@pytest.mark.parametrize("name", JOBS)
def test_weights_are_equal_on_both_ranks_after_each_epoch(both: list[Notes], job_specs: JobSpecs, name: str) -> None:
    assert differing(both, name) == [0, 0]
    assert store.holds(job_specs[name].model, job_specs[name].fingerprint)


@pytest.mark.parametrize("name", JOBS)
def test_control_without_averaged_gradients_they_are_not(both: list[Notes], name: str) -> None:
    assert min(differing(both, f"{name} apart")) > 0


def test_two_ranks_learn_what_one_does(both: list[Notes], alone: Notes) -> None:
    """To the last digits of float32, where nothing is drawn from torch's stream and no batch is normalised."""
    ours, theirs = both[0]["classifier"], alone["classifier"]
    for first, second in zip(ours["weights"], theirs["weights"], strict=True):
        for name, value in second.items():
            torch.testing.assert_close(first[name], value, atol=1e-5, rtol=0)
    for curve, expected in zip(ours["history"], theirs["history"], strict=True):
        assert curve == pytest.approx(expected, abs=1e-5)
    for first, second in zip(both[0]["classifier apart"]["weights"], theirs["weights"], strict=True):
        assert any((first[name] - value).abs().max() > 1e-3 for name, value in second.items()), "the control agrees"


def test_gradients_are_averaged_by_phase(both: list[Notes]) -> None:
    for rank, part in enumerate(notes["phases"] for notes in both):
        assert part["mine"].tolist() == [1.5, 1.5, 1.5]
        assert part["other"].tolist() == [rank + 1.0] * 3
        assert part["shared"] == 0
        assert part["all"] == [0, 1]


def test_alone_every_operation_is_the_identity() -> None:
    ranks, module = Ranks(), torch.nn.Linear(1, 1)
    assert ranks.parallel(module, 1) is module
    assert ranks.gather(3) == [3]
    assert ranks.broadcast("x") == "x"
    assert ranks.sum(torch.ones(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("phases", [1, 2])
def test_alone_gradients_stay(phases: int) -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    Ranks().average_gradients([parameter], phases)
    assert parameter.grad.tolist() == [1.0, 1.0]
