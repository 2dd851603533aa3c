"""A step waits for no device, and still names the loss that was not finite; what CUDA alone has is tried with fakes."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.params import Job, Params
from pipeline.train import finite, loop, optimizer, prefetch
from pipeline.train.ranks import Ranks
from pipeline.train.step import JobFailedError
from tests.helpers import learners, support

Project = Callable[..., tuple[Path, Params]]
#: operations whose result a program reads, so that it waits for the device; all that torch's own code waits by
WAITS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "unique_dim", "repeat_interleave"}


class Waits(TorchDispatchMode):
    """Counts the operations that would wait for another device than the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = [item for item in (args[1] or []) if isinstance(item, Tensor)] if name.startswith("index") else []
        if name in WAITS or any(item.dtype in (torch.bool, torch.uint8) for item in masks):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def trainer_of(root: Path, prepared: Path, job: dict[str, Any]) -> loop.Trainer:
    return loop.Trainer(learners.job_specs(root, prepared, {"a": job})["a"], Ranks())


def waits_of_a_step(trainer: loop.Trainer, step: int) -> Counter[str]:
    trainer.learner.train()
    batch = next(iter(trainer._batches(trainer.train_loader, list(trainer._plan(0))[:1])))
    trainer.step = step
    trainer._step(batch, 1.0)  # begins the average and the optimiser's state
    with Waits() as waits:
        trainer._step(batch, 1.0)
    return waits.counts


@pytest.mark.parametrize("optimizer_name", ["sgd", "adamw"])
def test_a_classifier_waits_at_most_once_a_step(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer_name: str
) -> None:
    """As on another device: the CPU is looked at each step. Counts that are kept on the CPU anyway are no waits."""
    job = {**learners.CLASSIFIER, "augmentation": None, "clip": 1.0, "optimizer": optimizer_name, "ema": None}
    trainer = trainer_of(tmp_path, prepared, job)
    monkeypatch.setattr(trainer.stepper.finite, "look_every", finite.LOOK_EVERY)
    on_cpu = Counter({"_local_scalar_dense": 2}) if optimizer_name == "adamw" else Counter()  # AdamW's two steps
    assert sum((waits_of_a_step(trainer, 1) - on_cpu).values()) <= 1


def test_control_a_look_at_every_step_is_a_wait(prepared: Path, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, prepared, {**learners.CLASSIFIER, "augmentation": None, "ema": None})
    assert waits_of_a_step(trainer, 1)["_local_scalar_dense"] == 1


@pytest.mark.parametrize("look_every", [1, 2, 7, 1000])
def test_the_step_that_failed_is_named_whenever_one_looks(
    project: Project, monkeypatch: pytest.MonkeyPatch, look_every: int
) -> None:
    root, params = project({"a": {"lr": 1e38, "epochs": 3}})
    job_spec = support.job_specs(root, params)["a"]
    expected = failure(loop.Trainer(job_spec, Ranks()))
    trainer = loop.Trainer(job_spec, Ranks())
    monkeypatch.setattr(trainer.stepper.finite, "look_every", look_every)
    assert failure(trainer) == expected
    assert "jobs.a.lr" in expected


def to_the_end(trainer: loop.Trainer) -> None:
    while not trainer.finished:
        trainer.epoch()


def failure(trainer: loop.Trainer) -> str:
    with pytest.raises(JobFailedError) as error:
        to_the_end(trainer)
    return str(error.value)


def test_an_error_that_follows_from_such_a_loss_is_told_as_that(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, params = project({"a": {"lr": 1e38, "epochs": 3}})
    trainer = loop.Trainer(support.job_specs(root, params)["a"], Ranks())
    monkeypatch.setattr(trainer.stepper.finite, "look_every", 1000)
    losses = trainer.learner.losses

    def refusing(outputs: Tensor, targets: Any, phase: str) -> dict[str, Tensor]:
        made = losses(outputs, targets, phase)
        if trainer.step > 4 and not torch.isfinite(outputs).all():
            raise ValueError("boxes must be numbers")
        return made

    monkeypatch.setattr(trainer.learner, "losses", refusing)
    assert "not finite at step" in failure(trainer)


def test_an_error_of_its_own_stays(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    root, params = project({"a": {}})
    trainer = loop.Trainer(support.job_specs(root, params)["a"], Ranks())

    def broken(*_: Any) -> Any:
        raise ValueError("broken")

    monkeypatch.setattr(trainer.learner, "losses", broken)
    with pytest.raises(ValueError, match="broken"):
        trainer.epoch()


def test_the_first_of_several_steps_is_kept() -> None:
    losses = finite.Finite(Ranks())
    for step, loss in enumerate([1.0, float("inf"), float("nan"), 1.0]):
        losses.note(torch.tensor(loss), step)
        assert losses.failed_step() == losses.failed_step_here() == (None if step == 0 else 1)
    losses.look_every = 3
    assert [losses.due(step) for step in range(7)] == [False, False, True, False, False, True, False]


def test_other_devices_are_looked_at_now_and_then() -> None:
    assert finite.Finite(Ranks(device="meta")).look_every == finite.LOOK_EVERY > 10


@pytest.mark.parametrize(("name", "cls"), [("sgd", "SGD"), ("adamw", "AdamW")])
def test_cuda_has_fused_optimisers(name: str, cls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(task="classification", architecture="linear", dataset="x", optimizer=name)  # type: ignore[arg-type]
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.optim, cls, lambda *_, **settings: given.append(settings))
    parameters = [nn.Parameter(torch.zeros(1))]
    optimizer.build(parameters, job, fused=True)
    optimizer.build(parameters, job)
    assert [settings["fused"] for settings in given] == [True, None]


def test_fast_arithmetic_is_for_cuda_and_ends_with_it(project: Project) -> None:
    root, params = project({"a": {}, "b": {"precision": "float32", "seed": 1}})

    def state() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark

    before = state()
    for name, precision in (("a", "high"), ("b", "highest")):
        stepper = loop.Trainer(support.job_specs(root, params)[name], Ranks()).stepper
        with stepper.fast_arithmetic():
            assert state() == before
        stepper.cuda = True
        with stepper.fast_arithmetic():
            assert state() == (precision, True)
        assert state() == before
        stepper.learner.fixed_shapes = False
        with stepper.fast_arithmetic():
            assert state() == (precision, False)


class FakeCuda:
    """Streams that note what happens, and when."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.copies = 0

    def Stream(self, device: str) -> str:  # noqa: N802
        return "side"

    @contextlib.contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        yield

    def Event(self) -> Any:  # noqa: N802
        fake, number = self, self.copies
        self.copies += 1

        class Event:
            def record(self, stream: str) -> None:
                fake.notes.append(f"copy {number} on {stream}")

            def __str__(self) -> str:
                return str(number)

        return Event()

    def current_stream(self, device: str) -> Any:
        fake = self

        class Current:
            def wait_event(self, event: Any) -> None:
                fake.notes.append(f"wait for {event}")

        return Current()


class Held(Tensor):
    """A tensor of a fake device."""

    def record_stream(self, stream: Any) -> None:
        self.kept = True


def test_the_next_batch_is_copied_before_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, loaded = FakeCuda(), list[int]()
    for name in ("Stream", "stream", "Event", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    monkeypatch.setattr(prefetch, "to_device", lambda batch, device: batch)

    def batches() -> Iterator[Any]:
        for number in range(3):
            loaded.append(number)
            yield (torch.full((1,), float(number)).as_subclass(Held), [{"boxes": torch.zeros(1).as_subclass(Held)}, 7])

    for number, batch in enumerate(prefetch.on_device(batches(), "cuda:0")):
        assert int(batch[0]) == number
        assert batch[0].kept
        assert batch[1][0]["boxes"].kept
        assert len(loaded) == min(number + 2, 3)
        fake.notes.append(f"use {number}")
    expected = ["copy 0", "copy 1", "wait for 0", "use 0", "copy 2", "wait for 1", "use 1", "wait for 2", "use 2"]
    assert [note.removesuffix(" on side") for note in fake.notes] == expected


def test_a_cpu_takes_batches_as_they_come() -> None:
    taken: list[int] = []

    def batches() -> Iterator[Tensor]:
        for number in range(3):
            taken.append(number)
            yield torch.tensor(number)

    for number, batch in enumerate(prefetch.on_device(batches(), "cpu")):
        assert int(batch) == number == taken[-1]


def test_the_average_is_torchs_to_the_byte() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    job = Job(task="classification", architecture="linear", dataset="x", ema=0.9)
    ours = optimizer.average(network, job)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    assert ours is not None
    for _ in range(5):
        network(torch.randn(8, 3)).sum().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(0.1 * torch.randn_like(parameter))
        ours.update_parameters(network)
        theirs.update_parameters(network)
        states = ours.state_dict(), theirs.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
