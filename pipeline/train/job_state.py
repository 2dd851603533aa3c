"""A job's state.json: how its training stands, written atomically by the process that trains it.

A job's work lies in `.work/jobs/<fingerprint>/`: state.json, the last checkpoint, the best weights, and at the end
`model/`. The process that holds the folder's `lock` trains the job; the lock ends with its process. Checks of the
lock are serialised by a second lock, `turn`, so that a check is never mistaken for a running job.
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
    """A job to train, with the paths of its data, its work folder and the models that it starts from.

    prepared, augmented: folders of the prepared dataset and of its staged copies · work: `.work/jobs/<fingerprint>` ·
    sources: models that it starts from, by role · derived: folders of derived fields, by name · roots: where the code
    that decides its result begins (pipeline/roots.py) · decided: all that its fingerprint is the digest of · reads:
    digests of all that its training reads (pipeline/train/reads.py) · views: folders of what its loader begins with, by
    split (pipeline/train/view.py), and the bytes that all views may take.
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
    roots: tuple[str, ...] = ()
    decided: dict[str, Any] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)
    views: dict[str, Path] = field(default_factory=dict)
    view_bytes: int = 0

    @property
    def model(self) -> Path:
        """The finished model's folder."""
        return self.work / "model"

    def waits_for(self) -> list[Path]:
        """Work folders of the jobs that must be trained first and are not."""
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
        """All entries; the state of a job that was never started is `waiting`."""
        return {"state": "waiting", "attempts": 0, "seconds": 0.0, **(read_json(self.path) or {})}

    def parts(self, job: Job) -> int:
        """In how many parts a batch goes through the network: as the job says, or as a lack of memory has shown."""
        return int(self.read().get("parts") or (1 if job.accumulate == "auto" else job.accumulate))

    def note(self, **entries: Any) -> None:
        """Add or replace entries."""
        write_json(self.path, {**self.read(), **entries, "pid": os.getpid(), "updated": time.time()})


def claim(job_spec: JobSpec, attempts: int) -> IO[str] | None:
    """Lock a waiting or interrupted job for training; None if it is done, failed, or trained by another process.

    The returned file holds the lock: close it to release the lock.
    """
    with _turn(job_spec.work):
        lock = _try(job_spec.work)
        if lock is None or _begin(job_spec, attempts):
            return lock
        lock.close()
        return None


def _begin(job_spec: JobSpec, attempts: int) -> bool:
    """Note a new attempt in the state; False if the job is done, failed, or has no attempt left."""
    state = JobState.of(job_spec)
    entry = state.read()
    if entry["state"] in ("done", "failed"):
        return False
    if entry["attempts"] >= attempts:
        reason = entry.get("reason", "its process ended without an error message; was it killed, or out of memory?")
        state.note(state="failed", reason=f"failed after {attempts} attempts: {reason}")
        return False
    attempt = {"attempts": entry["attempts"] + 1, "began": time.time()}
    state.note(name=job_spec.name, state="running", epochs=job_spec.job.epochs, **attempt)
    return True


def held(work: Path) -> bool:
    """Whether a running process trains in this folder."""
    if not work.exists():
        return False
    with _turn(work):
        lock = _try(work)
        if lock is None:
            return True
        lock.close()
        return False


def _turn(work: Path) -> contextlib.AbstractContextManager[None]:
    return locked(work / "turn", "another check of this job", wait=True)


def _try(work: Path) -> IO[str] | None:
    """The folder's lock, or None if another process holds it."""
    lock = (work / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def reopen(job_spec: JobSpec) -> None:
    """Reset a job's attempts and state before it is trained; its checkpoints stay."""
    state = JobState.of(job_spec)
    if state.path.exists():
        state.note(state="waiting", attempts=0, final=False, reason=None, evaluated=None, memory=None)
