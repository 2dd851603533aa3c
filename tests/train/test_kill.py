"""kill -9 of a rank mid-epoch, on Ray with two ranks: the same bytes at the end, one run, no step twice."""

import os
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import train
from pipeline import params, store, tracking
from pipeline.params import Train
from pipeline.train import ray_train
from pipeline.train.follow import Follower
from pipeline.train.job_state import JobSpec, JobState
from tests.helpers import learners

EPOCHS = 6
#: so that an epoch lasts long enough to be killed in
ALL = {"train_images": None}
JOBS: dict[str, dict[str, Any]] = {
    "classifier": {**learners.CLASSIFIER, **ALL, "batch": 20, "epochs": EPOCHS, "workers": 2},
    "detector": {**learners.DETECTOR, "epochs": EPOCHS, "workers": 2},
    "gan": {**learners.GAN, **ALL, "epochs": EPOCHS, "workers": 2},
}
#: the process that leads the group and writes its checkpoints, or the other one
KILLED = {"classifier": "leader", "detector": "follower", "gan": "leader"}
pytestmark = pytest.mark.slow


def group(leader: int) -> dict[str, int]:
    """The process numbers of a group of two."""
    siblings = psutil.Process(leader).parent().children()
    others = [p.pid for p in siblings if p.pid != leader and "".join(p.cmdline()).startswith("ray::RayTrainWorker")]
    assert len(others) == 1
    return {"leader": leader, "follower": others[0]}


def kill_mid_epoch(job_specs: Iterable[JobSpec], killed: dict[str, int]) -> None:
    """Kill one process of each job's group halfway between the ends of two epochs; note how many had ended."""
    for job_spec in job_specs:
        state = JobState.of(job_spec)
        deadline = time.monotonic() + 300
        while job_spec.name not in killed and time.monotonic() < deadline:
            entry = state.read()
            ended = int(entry.get("epoch") or 0)
            if ended:
                time.sleep(entry["seconds"] / ended / 2)
                if int(state.read()["epoch"]) == ended < EPOCHS:
                    os.kill(group(entry["pid"])[KILLED[job_spec.name]], signal.SIGKILL)
                    killed[job_spec.name] = ended
            time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, JobSpec]:
    root = tmp_path_factory.mktemp("undisturbed")
    job_specs = learners.job_specs(root, prepared, JOBS)
    jobs = list(job_specs.values())
    ray_train.run(jobs, Train(), root, {}, Follower(jobs, None))
    return job_specs


@pytest.fixture(scope="module")
def disturbed(
    undisturbed: dict[str, JobSpec], prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, JobSpec], dict[str, int]]:
    """The same jobs as the train stage runs them, each of them killed once: root, orders, epochs before the kill."""
    root = tmp_path_factory.mktemp("disturbed")
    job_specs = learners.job_specs(root, prepared, JOBS)
    killed: dict[str, int] = {}
    killer = threading.Thread(target=kill_mid_epoch, args=(job_specs.values(), killed))
    killer.start()
    train.run(params.read(root / "params.yaml"), root)
    killer.join()
    return root, job_specs, killed


@pytest.mark.parametrize("name", JOBS)
def test_a_killed_rank_changes_nothing(
    undisturbed: dict[str, JobSpec], disturbed: tuple[Path, dict[str, JobSpec], dict[str, int]], name: str
) -> None:
    root, job_specs, killed = disturbed
    entry = JobState.of(job_specs[name]).read()
    assert name in killed, "it was not killed, so nothing was tested"
    assert entry["attempts"] == 2
    assert 0 < entry["resumed_at_step"] < entry["step"]
    assert entry["resumed_at_step"] >= entry["step"] // EPOCHS * killed[name]
    assert store.verify(root / "models" / name) == store.verify(undisturbed[name].model)

    client = tracking.client(root)
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(numbers, f"tags.`{tracking.FINGERPRINT}` = '{job_specs[name].fingerprint}'")
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")]
    assert steps == list(range(1, EPOCHS + 1))
