"""`compile` changes how a network is computed, and nothing else; where torch can't compile it, the job says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline import store
from pipeline.params import Job, Params
from pipeline.train import loop, step
from pipeline.train.job_state import JobSpec
from pipeline.train.ranks import Ranks
from pipeline.train.step import JobFailedError
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that are compiled: by torch's tracer alone, which needs no C++ compiler."""
    networks: list[nn.Module] = []
    compile_module = nn.Module.compile

    def traced(network: nn.Module) -> None:
        networks.append(network)
        compile_module(network, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", traced)
    return networks


def job_specs(project: Project, **settings: Any) -> dict[str, JobSpec]:
    small = {"epochs": 2, "train_images": 200, "ema": 0.9}
    root, params = project({"plain": {**small, "seed": 1}, "other": {**small, **settings}})
    return support.job_specs(root, params)


def test_a_compiled_job_has_the_weights_and_names_of_one_that_is_not(
    project: Project, compiled: list[nn.Module]
) -> None:
    specs = job_specs(project, compile=True, seed=1, lr=0.049)
    loop.train(specs["other"], Ranks())
    assert len(compiled) == 1
    plain = specs["plain"]
    same = Job.model_validate({**specs["other"].job.model_dump(), "compile": False})
    loop.train(JobSpec(**{**vars(plain), "job": same, "fingerprint": specs["other"].fingerprint}), Ranks())
    assert len(compiled) == 1
    first, second = (item.model / "weights.safetensors" for item in (specs["other"], plain))
    assert first.read_bytes() == second.read_bytes()
    effects = [store.read_json(item.model / "record.json")["in_effect"] for item in (specs["other"], plain)]
    assert [effect.get("compile") for effect in effects] == [True, None]


@pytest.mark.parametrize(
    ("cuda", "fixed", "steps", "expected"),
    [(True, True, 0, True), (False, True, 0, False), (True, False, 0, False), (True, True, 10**9, False)],
)
def test_auto_is_for_long_trainings_on_cuda(
    project: Project, monkeypatch: pytest.MonkeyPatch, cuda: bool, fixed: bool, steps: int, expected: bool
) -> None:
    stepper = loop.Trainer(job_specs(project, compile="auto")["other"], Ranks()).stepper
    monkeypatch.setattr(step, "COMPILE_STEPS", steps)
    stepper.cuda, stepper.learner.fixed_shapes = cuda, fixed
    assert stepper.compiles is expected


def test_what_torch_cannot_compile_is_told_with_the_remedy(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = job_specs(project, compile=True)
    monkeypatch.setattr(nn.Module, "compile", lambda _: None)
    trainer = loop.Trainer(specs["other"], Ranks())

    def refuse(*_: Any) -> Any:
        raise torch._dynamo.exc.Unsupported("no C++ compiler")

    monkeypatch.setattr(trainer.learner, "losses", refuse)
    with pytest.raises(JobFailedError, match=r"no C\+\+ compiler.*jobs\.other\.compile: false"):
        trainer.epoch()


def test_it_makes_no_job_stale(project: Project) -> None:
    specs = job_specs(project, compile=True)
    assert "compile" in specs["other"].job.undecisive
    assert "compile" not in specs["other"].decided["job"]
