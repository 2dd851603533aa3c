"""What several tests need: a small project folder that has been prepared, trained and measured in this process."""

import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline import params as params_module
from pipeline.augment import stage as augment_stage
from pipeline.params import Params, Train
from pipeline.prepare import stage as prepare_stage
from pipeline.train import ray_train, worker_groups
from pipeline.train import stage as train_stage
from pipeline.train.follow import Follower
from pipeline.train.job_queue import JobQueue
from pipeline.train.job_state import JobSpec
from pipeline.train.worker_groups import Member

LINEAR = {
    "task": "classification",
    "architecture": "linear",
    "dataset": "digits",
    "channels": 1,
    "size": 8,
    "epochs": 2,
    "batch": 128,
}
#: of jobs whose models differ clearly
GOOD, WEAK = {"epochs": 8}, {"epochs": 1, "lr": 0.001}


def write_params(root: Path, jobs: dict[str, dict[str, Any]], **sections: Any) -> Params:
    """A params.yaml of jobs on digits, read back."""
    value = {
        "roster": "all",
        "datasets": {"digits": {"format": "digits"}},
        "augmentation": {"light": {"online": [{"shift": {"limit": 0.1}}]}},
        "jobs": {name: {**LINEAR, **job} for name, job in jobs.items()},
        "train": {},
        "evaluate": {"resamples": 100, "pictures": 2},
        **sections,
    }
    with (root / "params.yaml").open("w") as file:
        YAML().dump(value, file)
    return params_module.read(root / "params.yaml")


def copy_params(source: Path, root: Path) -> None:
    """Copy params.yaml and params/ of one project to another folder."""
    shutil.copy(source / "params.yaml", root / "params.yaml")
    shutil.copytree(source / "params", root / "params")


def prepared(root: Path, params: Params) -> None:
    """Run the stages before train."""
    prepare_stage.run(params, root)
    augment_stage.run(params, root)


def train_here(
    job_specs: list[JobSpec], settings: Any, root: Path, times: dict[str, float], follower: Follower, after: Any = None
) -> None:
    """Stands in for Ray: the same jobs, queue and states, in this process."""
    queue = JobQueue(
        ray_train.queued(job_specs, {job_spec.fingerprint: 1 for job_spec in job_specs}), settings.attempts
    )
    with follower.following(queue.changes, queue.close):
        member = Member(lambda method, *arguments: getattr(queue, method)(*arguments), "here", 1, 0)
        member.enter("this process")
        worker_groups.run(job_specs, [1], member, after=after)


def train_all(job_specs: list[JobSpec], settings: Train | None = None, after: Any = None) -> None:
    """Train jobs in this process, without a stage."""
    train_here(job_specs, settings or Train(), Path(), {}, Follower(job_specs, None), after)


def job_specs(root: Path, params: Params) -> dict[str, JobSpec]:
    """The project's jobs, resolved."""
    return train_stage.job_specs(params, root)
