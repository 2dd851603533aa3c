"""What the worker evaluates after a training is, to the byte, what the evaluate stage would make, which takes it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline import store
from pipeline.evaluate import stage
from pipeline.evaluate.after_training import Evaluator
from pipeline.params import Params
from pipeline.train import stage as train_stage
from pipeline.train.job_state import JobSpec, JobState
from tests.helpers import support, worlds

Project = Callable[..., tuple[Path, Params]]
GAN: dict[str, Any] = {
    "task": "generation",
    "architecture": "dcgan",
    "size": 16,
    "epochs": 1,
    "batch": 256,
    "extractor": "judge",
    "options": {"width": 4, "latent": 8},
}
JOBS: dict[str, dict[str, Any]] = {
    "judge": {"architecture": "lenet5", "size": 32, "epochs": 1, "batch": 256},
    "gan": GAN,
    "plain": {"epochs": 1},
}
WAIT_S = 60


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.evaluate.speed.measure", lambda *_: {"latency_ms": 1.0})


def digests(root: Path) -> dict[str, Any]:
    return {name: store.manifest(root / "evaluations" / name) for name in JOBS}


@pytest.mark.usefixtures("here", "quick")
def test_the_stage_takes_what_the_worker_evaluated(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also of a job that is measured by another's classifier, which models/ does not have yet."""
    root, params = project(JOBS)
    train_stage.run(params, root, None, Evaluator.of(params, root))
    made = {path.name for path in (root / stage.KEPT).iterdir()}
    assert len(made) == len(JOBS)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "evaluate", lambda *_: pytest.fail("evaluated again"))
        stage.run(params, root)
    taken = digests(root)
    assert {entry["fingerprint"] for entry in taken.values()} == made
    for folder in ("evaluations", stage.KEPT):
        (root / folder).rename(tmp_path_factory.mktemp("gone") / "x")
    stage.run(params, root)
    assert digests(root) == taken


@pytest.mark.usefixtures("here", "quick")
def test_changed_settings_are_evaluated_by_the_stage(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root, params = project({"plain": JOBS["plain"]})
    train_stage.run(params, root, None, Evaluator.of(params, root))
    changed = support.write_params(root, {"plain": JOBS["plain"]}, evaluate={"resamples": 100, "pictures": 3})
    capsys.readouterr()
    stage.run(changed, root)
    assert "1 of 1 models to evaluate" in capsys.readouterr().out


def broken(job_spec: JobSpec, device: str) -> bool:
    raise ValueError(f"{job_spec.name} on {device}")


@pytest.mark.usefixtures("quick")
def test_an_evaluation_that_fails_fails_no_job(project: Project) -> None:
    root, params = project({"plain": JOBS["plain"]})
    job_spec = support.job_specs(root, params)["plain"]
    support.train_all([job_spec], after=broken)
    entry = JobState.of(job_spec).read()
    assert (entry["state"], entry["attempts"]) == ("done", 1)
    assert "plain on cpu" in entry["evaluated"]
    assert job_spec.model.is_dir()


def test_a_job_that_fails_is_not_evaluated(project: Project) -> None:
    root, params = project({"plain": {"lr": 1e38, "epochs": 3}})
    job_spec = support.job_specs(root, params)["plain"]
    support.train_all([job_spec], after=lambda *_: pytest.fail("was evaluated"))
    entry = JobState.of(job_spec).read()
    assert entry["state"] == "failed"
    assert "evaluated" not in entry


@dataclass(frozen=True)
class Meeting:
    """Ends when as many jobs are evaluated at once as there are worker groups."""

    folder: Path
    groups: int

    def __call__(self, job_spec: JobSpec, device: str) -> bool:
        (self.folder / job_spec.name).touch()
        ends = time.monotonic() + WAIT_S
        while len([*self.folder.iterdir()]) < self.groups:
            if time.monotonic() > ends:
                raise TimeoutError("alone")
            time.sleep(0.05)
        return True


def _start(rank: int, ask: worlds.Asking, job_specs: list[JobSpec], after: Meeting) -> None:
    worlds.work(rank, ask, job_specs, after=after)


def test_two_worker_groups_evaluate_two_jobs_at_once(project: Project, tmp_path: Path) -> None:
    root, params = project({"a": {"seed": 1}, "b": {"seed": 2}})
    job_specs = list(support.job_specs(root, params).values())
    folder = tmp_path / "meeting"
    folder.mkdir()
    worlds.train(_start, job_specs, Meeting(folder, 2))
    entries = [JobState.of(job_spec).read() for job_spec in job_specs]
    assert [entry["evaluated"].startswith("evaluated in ") for entry in entries] == [True, True]
