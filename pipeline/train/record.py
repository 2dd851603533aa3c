"""What decided a finished model, and on what it was trained, beside its weights in `record.json`.

`decided` is all that its fingerprint is the digest of (pipeline/fingerprint.py), by which pipeline/why.py tells what
made a job stale. `in_effect` decides nothing: a finished job stays valid on another machine.
"""

from pathlib import Path
from typing import Any

from pipeline import store
from pipeline.train.job_state import JobSpec
from pipeline.train.ranks import Ranks

FILE = "record.json"


def write(path: Path, job_spec: JobSpec, ranks: Ranks, parts: int = 1, *, compiled: bool = False) -> None:
    """Write the record of a job into the folder `path`; parts: of a batch, which went through the network in turn."""
    effects = _in_effect(job_spec, ranks, parts) | ({"compile": True} if compiled else {})
    store.write_json(path / FILE, {"decided": job_spec.decided, "in_effect": effects})


def read(path: Path) -> dict[str, Any] | None:
    """The record in a model's folder; None if an earlier version trained it, which kept none."""
    record: dict[str, Any] | None = store.read_json(path / FILE)
    return record


def _in_effect(job_spec: JobSpec, ranks: Ranks, parts: int) -> dict[str, Any]:
    import torch

    cuda = ranks.device.startswith("cuda")
    precision = "bfloat16" if cuda and job_spec.job.precision == "auto" else "float32"
    accumulated = {"accumulate": parts} if parts > 1 else {}
    threads = {"threads": torch.get_num_threads()} if ranks.device == "cpu" else {}
    return {"device": ranks.device, "precision": precision, "workers": ranks.world, **threads, **accumulated}
