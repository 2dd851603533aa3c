"""Progress on the terminal: one line per job and epoch, read from the jobs' state files."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline import disk
from pipeline.progress import per_second
from pipeline.train.job_state import JobSpec, JobState

log = logging.getLogger(__name__)

Watcher = Callable[[JobSpec, dict[str, Any]], None]
POLL_S = 0.5
QUIET_S = 15.0
#: number of weights that one line names
SHOWN = 6


def follow(job_specs: Sequence[JobSpec], ended: threading.Event, watcher: Watcher | None) -> None:
    """Print each change of a job's state until `ended` is set, and pass it to the watcher (curves in MLflow)."""
    printed: dict[str, tuple[Any, ...]] = {}
    started, reported = set[str](), set[tuple[str, str]]()
    printed_at: dict[str, float] = {}
    while True:
        last = ended.wait(POLL_S)
        for job_spec in job_specs:
            entry = JobState.of(job_spec).read()
            if entry.get("epoch") is None and entry["state"] == "waiting":
                continue
            if job_spec.name not in started and (entry.get("not_taken") or entry.get("view")):
                started.add(job_spec.name)
                if entry.get("view"):
                    log.info(f"train: {job_spec.name:<16}  {entry['view']}")
                if entry.get("not_taken"):
                    log.info(not_taken(job_spec.name, entry["not_taken"]))
            for remark in (entry.get("memory"), entry.get("evaluated")):
                if remark and (job_spec.name, remark) not in reported:
                    reported.add((job_spec.name, remark))
                    log.info(f"train: {job_spec.name:<16}  {remark}")
            status = (entry["state"], int(entry.get("epoch") or 0), entry.get("reason"))
            quiet = time.monotonic() - printed_at.get(job_spec.name, 0.0) > QUIET_S and entry["state"] == "running"
            if status == printed.get(job_spec.name) and not quiet:
                continue
            printed[job_spec.name], printed_at[job_spec.name] = status, time.monotonic()
            log.info(line(job_spec.name, entry))
            if watcher is not None:
                watcher = _notify(watcher, job_spec, entry)
        if last:
            return


def _notify(watcher: Watcher, job_spec: JobSpec, entry: dict[str, Any]) -> Watcher | None:
    """Call the watcher; if it fails, give it up for this run, since register logs the curves again."""
    try:
        watcher(job_spec, entry)
    except Exception as error:
        reason = disk.disk_error(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        log.warning(f"train: {job_spec.name:<16}  its curves are missing in MLflow until register runs: {reason}")
        return None
    return watcher


def not_taken(name: str, left: Sequence[str]) -> str:
    """`train: late  starts without fc.bias, fc.weight of the weights it was given`: mostly the head."""
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
    elif entry.get("primary") and done >= 1:
        parts.append(f"val {entry['primary']} undefined")
    if entry.get("images_per_s"):
        parts.append(per_second(entry["images_per_s"]))
    if entry["state"] == "running" and done and entry.get("seconds"):
        whole = int(done)
        if whole:
            parts.append(f"{entry['seconds'] / whole * (epochs - done):.0f} s left")
    if entry.get("remark"):
        parts.append(str(entry["remark"]))
    if entry.get("reason"):
        parts.append(str(entry["reason"]))
    return "  ".join(parts)
