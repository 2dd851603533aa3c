"""Progress that a person can follow: a line a job and epoch, from the jobs' ledgers."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline import disk
from pipeline.train.job_state import JobSpec, JobState

log = logging.getLogger(__name__)

Watcher = Callable[[JobSpec, dict[str, Any]], None]
POLL_S = 0.5
QUIET_S = 15.0
#: names of weights in one line
SHOWN = 6


def follow(job_specs: Sequence[JobSpec], ended: threading.Event, watcher: Watcher | None) -> None:
    """Print what changes until `ended`, and hand each change to the watcher (curves in MLflow)."""
    told: dict[str, tuple[Any, ...]] = {}
    started: set[str] = set()
    spoke: dict[str, float] = {}
    while True:
        last = ended.wait(POLL_S)
        for job_spec in job_specs:
            entry = JobState.of(job_spec).read()
            if entry.get("epoch") is None and entry["state"] == "waiting":
                continue
            if entry.get("not_taken") and job_spec.name not in started:
                started.add(job_spec.name)
                log.info(not_taken(job_spec.name, entry["not_taken"]))
            news = (entry["state"], int(entry.get("epoch") or 0), entry.get("reason"))
            quiet = time.monotonic() - spoke.get(job_spec.name, 0.0) > QUIET_S and entry["state"] == "running"
            if news == told.get(job_spec.name) and not quiet:
                continue
            told[job_spec.name], spoke[job_spec.name] = news, time.monotonic()
            log.info(line(job_spec.name, entry))
            if watcher is not None:
                watcher = _handed(watcher, job_spec, entry)
        if last:
            return


def _handed(watcher: Watcher, job_spec: JobSpec, entry: dict[str, Any]) -> Watcher | None:
    """Hand news on; a watcher that fails is left out from then on, since register draws the curves once more."""
    try:
        watcher(job_spec, entry)
    except Exception as error:
        reason = disk.disk_error(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        log.warning(f"train: {job_spec.name:<16}  continues without its curves, which register adds later: {reason}")
        return None
    return watcher


def not_taken(name: str, left: Sequence[str]) -> str:
    """`train: late  starts without fc.bias, fc.weight of the weights it was given`: as a rule the head."""
    more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    return f"train: {name:<16}  starts without {', '.join(left[:SHOWN])}{more} of the weights it was given"


def line(name: str, entry: dict[str, Any]) -> str:
    """`lenet5  epoch 3/12  loss 0.231  val top1 0.962  5,210 images/s  18 s left`"""
    parts = [f"train: {name:<16}"]
    if entry["state"] != "running":
        parts.append(entry["state"])
    done, epochs = entry.get("epoch") or 0, entry.get("epochs") or 0
    parts.append(f"epoch {done:.0f}/{epochs}" if done == int(done) else f"epoch {done:.1f}/{epochs}")
    if entry.get("loss") is not None:
        parts.append(f"loss {entry['loss']:.4f}")
    if entry.get("value") is not None:
        parts.append(f"val {entry['primary']} {entry['value']:.4f}")
    if entry.get("images_per_s"):
        rate = entry["images_per_s"]
        parts.append(f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.1f} images/s")
    if entry["state"] == "running" and done and entry.get("seconds"):
        whole = int(done)
        if whole:
            parts.append(f"{entry['seconds'] / whole * (epochs - done):.0f} s left")
    if entry.get("remark"):
        parts.append(str(entry["remark"]))
    if entry.get("reason"):
        parts.append(str(entry["reason"]))
    return "  ".join(parts)
