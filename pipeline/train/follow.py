"""The driver's part in a training run: it writes what the processes report into the jobs' states, and prints it."""

import _thread
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline import disk
from pipeline.progress import per_second
from pipeline.train.job_state import JobSpec, JobState

log = logging.getLogger(__name__)

Watcher = Callable[[JobSpec, dict[str, Any]], None]
#: gives the entries that changed since a version, by fingerprint, and the version now; waits for them so many seconds
Changes = Callable[[int, float], tuple[int, dict[str, dict[str, Any]]]]
WAIT_S = 60.0
QUIET_S = 15.0
#: number of weights that one line names
SHOWN = 6


class Follower:
    """Follows the jobs of a run: their state files, a line per job and epoch, and a watcher (curves in MLflow)."""

    def __init__(self, job_specs: Sequence[JobSpec], watcher: Watcher | None) -> None:
        self._job_specs = {job_spec.fingerprint: job_spec for job_spec in job_specs}
        self._watcher = watcher
        self._printed: dict[str, tuple[Any, ...]] = {}
        self._printed_at: dict[str, float] = {}
        self._remarks = set[str]()

    @contextlib.contextmanager
    def following(self, changes: Changes, close: Callable[[], None]) -> Iterator[None]:
        """While the block runs, a thread takes the changes over; after `close`, they are complete and don't wait."""
        ended = threading.Event()

        def follow() -> None:
            version, last = 0, False
            while not last:
                last = ended.is_set()
                try:
                    version, changed = changes(version, WAIT_S)
                except Exception:  # the queue's process has died, and so has the run, which says why
                    return
                try:
                    self.take_over(changed)
                except BrokenPipeError:  # nobody reads the output any more: end the run
                    _thread.interrupt_main()
                    return

        thread = threading.Thread(target=follow, name="follow-jobs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            with contextlib.suppress(Exception):  # likewise
                close()
            thread.join(timeout=60)

    def take_over(self, changed: dict[str, dict[str, Any]]) -> None:
        """Write changed entries, by fingerprint, into the states of their jobs, and print them."""
        for fingerprint, entries in changed.items():
            job_spec = self._job_specs[fingerprint]
            state = JobState.of(job_spec)
            entry = {**state.read(), **entries}
            with contextlib.suppress(OSError):  # the disk may be full, of which the stage tells
                job_spec.work.mkdir(parents=True, exist_ok=True)
                state.write(entry)
            self._print(job_spec, entry)

    def _print(self, job_spec: JobSpec, entry: dict[str, Any]) -> None:
        name = job_spec.name
        remarks = [f"train: {name:<16}  {entry[key]}" for key in ("view", "memory", "evaluated") if entry.get(key)]
        if entry.get("not_taken"):
            remarks.insert(1 if entry.get("view") else 0, not_taken(name, entry["not_taken"]))
        for remark in remarks:
            if remark not in self._remarks:
                self._remarks.add(remark)
                log.info(remark)
        status = (entry["state"], int(entry.get("epoch") or 0), entry.get("reason"))
        quiet = time.monotonic() - self._printed_at.get(name, 0.0) > QUIET_S and entry["state"] == "running"
        if entry.get("epoch") is None and entry["state"] == "waiting":
            return
        if status != self._printed.get(name) or quiet:
            self._printed[name], self._printed_at[name] = status, time.monotonic()
            log.info(line(name, entry))
            self._notify(job_spec, entry)

    def _notify(self, job_spec: JobSpec, entry: dict[str, Any]) -> None:
        """Call the watcher; if it fails, give it up for this run, since register logs the curves again."""
        if self._watcher is None:
            return
        try:
            self._watcher(job_spec, entry)
        except Exception as error:
            reason = disk.disk_error(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            log.warning(f"train: {job_spec.name:<16}  its curves are missing in MLflow until register runs: {reason}")
            self._watcher = None


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
    if entry.get("doing"):
        parts.append(str(entry["doing"]))
    else:
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
