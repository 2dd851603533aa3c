"""One file a job that says how its training stands, written atomically by the process that trains it.

A job's work lies in `.work/jobs/<fingerprint>/`: state.json, the last checkpoint, the best weights, and at
the end `model/`. Who holds the folder's `lock` trains the job; the lock dies with its holder. Whether it is held
can only be seen by trying it, so who tries it takes a `turn` first: else a look would pass for a hold.
"""

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from pipeline.params import Job
from pipeline.store import locked, read_json, write_json

State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class JobSpec:
    """A job to train: its settings, where its data lies, where its work goes, models it starts from by role.

    derived: folders of the derived fields that its samples get, by name · modules: the code that decides its result ·
    reads: digests of all that its training reads (pipeline/train/reads.py).
    """

    name: str
    fingerprint: str
    job: Job
    policy: list[dict[str, dict[str, Any]]]
    prepared: Path
    augmented: Path | None
    work: Path
    sources: dict[str, Path] = field(default_factory=dict)
    derived: dict[str, Path] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    reads: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The finished model's folder."""
        return self.work / "model"

    def waits_for(self) -> list[Path]:
        """Work folders of jobs whose models must be there first and are not."""
        return [path.parent for path in self.sources.values() if path.name == "model" and not path.exists()]


@dataclass
class JobState:
    """A job's state.json."""

    path: Path

    @classmethod
    def of(cls, job_spec: JobSpec) -> "JobState":
        """The state of a job."""
        return cls(job_spec.work / "state.json")

    def read(self) -> dict[str, Any]:
        """All entries; a job never started is waiting."""
        return {"state": "waiting", "attempts": 0, "seconds": 0.0, **(read_json(self.path) or {})}

    def note(self, **entries: Any) -> None:
        """Add or replace entries."""
        write_json(self.path, {**self.read(), **entries, "pid": os.getpid(), "updated": time.time()})


def claim(job_spec: JobSpec, attempts: int) -> IO[str] | None:
    """Take a waiting or interrupted job; None if it is done, failed for good, or another process trains it.

    The returned file holds the lock: close it to let go.
    """
    with _turn(job_spec.work):
        lock = _try(job_spec.work)
        if lock is None or _begin(job_spec, attempts):
            return lock
        lock.close()
        return None


def _begin(job_spec: JobSpec, attempts: int) -> bool:
    """Write the beginning of an attempt into the state; False if there is none to make."""
    state = JobState.of(job_spec)
    entry = state.read()
    if entry["state"] in ("done", "failed"):
        return False
    if entry["attempts"] >= attempts:
        reason = entry.get("reason", "its process ended without a word; was it killed, or out of memory?")
        state.note(state="failed", reason=f"gave up after {attempts} attempts: {reason}")
        return False
    attempt = {"attempts": entry["attempts"] + 1, "began": time.time()}
    state.note(name=job_spec.name, state="running", epochs=job_spec.job.epochs, **attempt)
    return True


def held(work: Path) -> bool:
    """Whether a living process trains in this folder."""
    if not work.exists():
        return False
    with _turn(work):
        lock = _try(work)
        if lock is None:
            return True
        lock.close()
        return False


def _turn(work: Path) -> contextlib.AbstractContextManager[None]:
    return locked(work / "turn", "another look", wait=True)


def _try(work: Path) -> IO[str] | None:
    """The folder's lock, unless another process has it."""
    lock = (work / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def reopen(job_spec: JobSpec) -> None:
    """Give a job that is to be trained a fresh set of attempts, whatever became of it before; checkpoints stay."""
    state = JobState.of(job_spec)
    if state.path.exists():
        state.note(state="waiting", attempts=0, final=False, reason=None)
