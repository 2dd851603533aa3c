"""Worker groups of several widths: processes that come to a group at different times meet, whatever they waited for."""

import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pipeline import plugins
from pipeline.params import Params, Train
from pipeline.train import ranks, worker_groups
from pipeline.train.job_state import JobSpec, JobState
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]
WORLD, LATE, TIMEOUT_S, BUSY_S = 2, 1, 8, 11


def _start(rank: int, meeting: str, job_specs: list[JobSpec]) -> None:
    for kind, name in (("tasks", "classification"), ("models", "linear")):  # that takes time, and not the same on both
        plugins.load(kind, name)
    ranks.COLLECTIVE_TIMEOUT = datetime.timedelta(seconds=TIMEOUT_S)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD)
    train_all = worker_groups.train_all

    def busy_first(mine: list[JobSpec], group: ranks.Ranks, *rest: Any) -> None:
        if rank == LATE and group.world == 1:
            time.sleep(BUSY_S)
        train_all(mine, group, *rest)

    worker_groups.train_all = busy_first  # type: ignore[assignment]
    widths = {job_spec.fingerprint: int(job_spec.job.workers) for job_spec in job_specs}
    worker_groups.run(job_specs, widths, Train(), rank=rank, world=WORLD)
    dist.destroy_process_group()


def test_a_group_waits_for_its_members_longer_than_a_collective(project: Project, tmp_path: Path) -> None:
    """One comes late, and finds a job whose source it must itself help to train."""
    jobs = {"wide": {"workers": 2, "seed": 1}, "after": {"pretrained": {"job": "wide"}, "seed": 2}}
    root, params = project(jobs)
    job_specs = support.job_specs(root, params)
    arguments = (str(tmp_path / "meeting"), list(job_specs.values()))
    torch.multiprocessing.spawn(_start, args=arguments, nprocs=WORLD)  # type: ignore[attr-defined]
    entries = {name: JobState.of(job_spec).read() for name, job_spec in job_specs.items()}
    found = {name: (entry["state"], entry["attempts"]) for name, entry in entries.items()}
    assert found == {"wide": ("done", 1), "after": ("done", 1)}
