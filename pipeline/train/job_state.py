"""A job's state.json: how its training stands. The driver of a run writes it, by what the processes report.

A job's work lies in `.work/jobs/<fingerprint>/`: state.json, the last checkpoint, the best weights, and at the end
`model/`. The process that leads the training holds the folder's `lock`, which ends with its process, so that others on
this machine see whether the job is in training. Who trains what is up to the job queue (job_queue.py).
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipeline.params import Job
from pipeline.store import read_json, write_json


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
        """Work folders of the jobs that must be trained first and are not; each is named by its fingerprint."""
        return [path.parent for path in self.sources.values() if path.name == "model" and not path.exists()]


class State(Protocol):
    """What the process that trains a job reads and notes of how it stands."""

    def read(self) -> dict[str, Any]:
        """All entries."""

    def note(self, **entries: Any) -> None:
        """Add or replace entries."""


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

    def note(self, **entries: Any) -> None:
        """Add or replace entries."""
        self.write({**self.read(), "pid": os.getpid(), "updated": time.time(), **entries})

    def write(self, entries: dict[str, Any]) -> None:
        """Replace all entries."""
        write_json(self.path, entries)


def number_of_parts(state: State, job: Job) -> int:
    """In how many parts a batch goes through the network: as the job says, or as a lack of memory has shown."""
    return int(state.read().get("parts") or (1 if job.accumulate == "auto" else job.accumulate))


@contextlib.contextmanager
def hold(work: Path) -> Iterator[None]:
    """Hold the lock of a job's folder while the block runs; waits for a process of an earlier run to end."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def held(work: Path) -> bool:
    """Whether a running process of this machine trains in this folder."""
    try:
        with (work / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # lookers don't disturb each other, and `hold` waits
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def reopen(job_spec: JobSpec) -> None:
    """Reset a job's attempts and state before it is trained; its checkpoints stay."""
    state = JobState.of(job_spec)
    if state.path.exists():
        state.note(state="waiting", attempts=0, final=False, reason=None, evaluated=None, memory=None)
