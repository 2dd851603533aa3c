"""What a second process gains: an epoch of ResNet-20 on digits by two processes, beside one process alone.

0.5 is all that two could gain. The two processes are started once; while the first works alone, the second waits.
"""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.parts import ratios, sample_data
from pipeline import store
from pipeline.train import loop
from pipeline.train.job_state import JobSpec
from pipeline.train.ranks import Ranks

TITLE = "one process alone; ours two: an epoch of ResNet-20, 1,091 digits of 32×32, batch 64"
NEEDS = ()
PAIRS = 5


def measure() -> ratios.Ratio:
    """The same epochs on both sides; RuntimeError where there is one core alone."""
    if (os.cpu_count() or 1) < 2:
        raise RuntimeError("two processes need two cores")
    with tempfile.TemporaryDirectory() as folder:
        changes: dict[str, Any] = {"size": 32, "batch": 64, "augmentation": None, "options": {"depth": 20, "width": 16}}
        job_spec = sample_data.digits(Path(folder), "resnet", **changes)
        torch.multiprocessing.spawn(_start, args=(job_spec, folder), nprocs=2)  # type: ignore[attr-defined]
        return ratios.summary([tuple(pair) for pair in store.read_json(Path(folder) / "timed.json")])


def _start(rank: int, job_spec: JobSpec, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    ranks = Ranks(rank, 2, (0, 1), dist.new_group([0, 1]))
    sides = {"ours": _trainer(job_spec, folder, ranks)}
    if ranks.leads:
        sides["theirs"] = _trainer(job_spec, folder, Ranks())
    timed = []
    for number in range(-1, PAIRS):  # the first pair warms both up
        seconds = {}
        for side in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            dist.barrier()
            if side in sides:
                seconds[side] = ratios.seconds_of(lambda trainer=sides[side]: trainer._pass(0, 0.0))  # type: ignore[misc]
            dist.barrier()
        timed.append([seconds.get(side) for side in ("ours", "theirs")])
    if ranks.leads:
        store.write_json(Path(folder) / "timed.json", timed[1:])
    dist.destroy_process_group()


def _trainer(job_spec: JobSpec, folder: str, ranks: Ranks) -> loop.Trainer:
    return loop.Trainer(dataclasses.replace(job_spec, work=Path(folder) / f"work{ranks.world}"), ranks)
