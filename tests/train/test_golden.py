"""The first steps of a job of every task have the losses that were recorded: a changed result is seen at once."""

from pathlib import Path

import pytest

from pipeline.train.job_state import JobSpec
from tests.helpers import own_plugins
from tests.train import golden

#: so that it holds on another processor, whose sums differ in their last bits
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def job_specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, JobSpec]:
    return golden.prepare(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("task", own_plugins.shipped("tasks"))
def test_the_first_losses_are_the_recorded_ones(task: str, job_specs: dict[str, JobSpec], tmp_path: Path) -> None:
    assert task in golden.JOBS, f"tests/train/golden.py: add a small job of the task {task} to JOBS"
    expected = golden.recorded().get(task)
    assert expected, f"no golden losses of {task}; record them: python -m tests.train.golden {task}"
    losses = golden.measure(job_specs[task], tmp_path)
    assert len(losses) == len(expected) == golden.STEPS
    assert losses == pytest.approx(expected, rel=TOLERANCE), (
        f"{task} trains otherwise than before. If that is meant: python -m tests.train.golden {task}"
    )


@pytest.mark.parametrize(("setting", "value"), [("seed", 1), ("lr", 0.0011), ("momentum", 0.8)])
def test_control_a_changed_setting_is_seen(
    setting: str, value: float, job_specs: dict[str, JobSpec], tmp_path: Path
) -> None:
    losses = golden.measure(job_specs["segmentation"], tmp_path, **{setting: value})
    assert losses != pytest.approx(golden.recorded()["segmentation"], rel=TOLERANCE)
