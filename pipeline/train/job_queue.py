"""Who trains what: one object hands the jobs of a run to its worker groups, and holds how each job stands.

It is one Ray actor (ray_train.py), or an object of this process. All waiting is done here: a process that has nothing
to do blocks in a call, and so does the driver, which writes what has changed into the jobs' state files.

The processes of a run are a *world*. If one of them dies, Ray ends all and starts another world; a job counts the
attempt only if one of its own processes failed. The jobs of a world are trained in phases, each of one group size, so
that jobs of any sizes can start from each other.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Entries = dict[str, Any]
#: seconds in which the other members of a group say that they, too, have lost one
ANSWER_S = 10.0
LOST = "its process ended without an error message; was it killed, or out of memory?"


class WorldEndedError(RuntimeError):
    """A call of a process whose world Ray has replaced."""


class Group(NamedTuple):
    """A worker group: the phase in which it works, its first rank, and its number of processes."""

    phase: int
    first: int
    width: int


class Claim(NamedTuple):
    """A job that a group is to train: its fingerprint and the entries of its state."""

    fingerprint: str
    entries: Entries


@dataclass
class QueuedJob:
    """A job of the run.

    width: how many processes train it · sources: fingerprints of the jobs of this run that it starts from · entries: of
    its state.
    """

    name: str
    fingerprint: str
    width: int
    epochs: int
    sources: Sequence[str] = ()
    entries: Entries = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`waiting`, `running`, `done` or `failed`."""
        return str(self.entries["state"])


@dataclass
class World:
    """The processes that work at present: what each is called, which wait where, and what each group was given."""

    name: str
    size: int
    titles: dict[int, str] = field(default_factory=dict)
    arrived: dict[Hashable, set[int]] = field(default_factory=dict)
    given: dict[Hashable, Any] = field(default_factory=dict)
    in_training: dict[str, Group] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)


def _in_turn(method: Callable[Concatenate["JobQueue", P], R]) -> Callable[Concatenate["JobQueue", P], R]:
    """One call at a time; others go on while one waits."""

    def locked(self: "JobQueue", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._changed:
            return method(self, *args, **kwargs)

    return locked


class JobQueue:
    """The jobs of a run, in the order in which they are tried."""

    def __init__(self, jobs: Iterable[QueuedJob], attempts: int, *, stop_at_failure: bool = False) -> None:
        self._jobs = {job.fingerprint: job for job in jobs}
        self._attempts, self._stop_at_failure = attempts, stop_at_failure
        self._changed = threading.Condition(threading.RLock())
        self._world = World("", 0)
        self._version = 0
        #: by job and entry, the version with which it was noted last
        self._versions: dict[str, dict[str, int]] = {mark: {} for mark in self._jobs}
        self._closed = False
        for job in self._jobs.values():
            job.entries = {"state": "waiting", "attempts": 0, **job.entries}

    # Calls of the processes that train; the first argument is the name of their world.

    @_in_turn
    def enter(self, world: str, size: int, rank: int, title: str) -> None:
        """Join a world, which ends the one before it; `title` is what the process is called in messages."""
        if world != self._world.name:
            self._end_world()
            self._world = World(world, size)
        self._world.titles[rank] = title
        self._changed.notify_all()

    @_in_turn
    def choose_width(self, world: str, phase: int, rank: int) -> int | None:
        """The group size of a phase, after all processes have ended the phase before; None if nothing is left."""
        self._meet(world, ("phase", phase), rank, range(self._world.size))
        given = self._world.given
        if ("phase", phase) not in given:
            widths = {job.width for job in self._jobs.values() if self._is_ready(job)}
            given["phase", phase] = min(widths, default=None)
        width: int | None = given["phase", phase]
        return width

    @_in_turn
    def take(self, world: str, group: Group, number: int, rank: int) -> Claim | None:
        """A group's job of this number in its phase: the same for all members, when all of them have asked.

        None if no job is left that the group could train in this phase.
        """
        key = ("take", group, number)
        self._meet(world, key, rank, range(group.first, group.first + group.width))
        while key not in self._world.given:
            ready = next((job for job in self._of_width(group.width) if self._is_ready(job)), None)
            if ready is not None:
                self._world.given[key] = self._begin(ready, group)
            elif not any(job.state == "running" for job in self._of_width(group.width)):
                self._world.given[key] = None
            else:
                self._wait(world)
        claim: Claim | None = self._world.given[key]
        self._changed.notify_all()
        return claim

    @_in_turn
    def meet(self, world: str, group: Group, number: int, rank: int) -> None:
        """Wait, while a group is at its job of this number, until all members are here."""
        self._meet(world, ("meet", group, number), rank, range(group.first, group.first + group.width))

    @_in_turn
    def note(self, fingerprint: str, entries: Entries) -> None:
        """Replace entries of a job's state."""
        self._note(self._jobs[fingerprint], entries)

    @_in_turn
    def end(self, world: str, fingerprint: str, rank: int, entries: Entries) -> None:
        """A job is `done` or `failed`, or `waiting` for another attempt."""
        if world != self._world.name or fingerprint not in self._world.in_training:
            return  # another member has said so before
        del self._world.in_training[fingerprint]
        if entries["state"] == "waiting":
            self._world.faults[rank] = str(entries.get("reason"))
        self._settle(self._jobs[fingerprint], entries)

    @_in_turn
    def name_silent(self, world: str, group: Group, number: int, rank: int) -> list[str]:
        """Titles of the members of a group that don't say, like this one, that they waited in vain for a member."""
        key, members = ("silent", group, number), range(group.first, group.first + group.width)
        here = self._world.arrived.setdefault(key, set())
        here.add(rank)
        self._changed.notify_all()
        self._changed.wait_for(lambda: here >= set(members) or self._world.name != world, ANSWER_S)
        return [self._world.titles.get(member, f"process {member}") for member in members if member not in here]

    # Calls of the driver and of Ray's controller.

    @_in_turn
    def blame(self, faults: dict[int, str]) -> None:
        """Processes of this world, by rank, that raised an error or died."""
        self._world.faults = {**faults, **self._world.faults}

    @_in_turn
    def changes(self, after: int, wait_s: float) -> tuple[int, dict[str, Entries]]:
        """The entries of jobs that changed since a version, and the version now; waits for the first change."""
        self._changed.wait_for(lambda: self._version > after or self._closed, wait_s)
        newer = {
            mark: [name for name, version in versions.items() if version > after]
            for mark, versions in self._versions.items()
        }
        return self._version, {
            mark: {name: self._jobs[mark].entries[name] for name in names} for mark, names in newer.items() if names
        }

    @_in_turn
    def close(self) -> None:
        """No process works any more: settle what they left, and end the driver's waiting."""
        self._end_world()
        self._closed = True
        self._changed.notify_all()

    # What the calls have in common.

    def _wait(self, world: str) -> None:
        self._check(world)
        self._changed.wait()
        self._check(world)

    def _check(self, world: str) -> None:
        if world != self._world.name:
            raise WorldEndedError("Ray has started other processes in place of this one.")

    def _meet(self, world: str, key: Hashable, rank: int, members: range) -> None:
        self._check(world)
        here = self._world.arrived.setdefault(key, set())
        here.add(rank)
        self._changed.notify_all()
        while len(here) < len(members):
            self._wait(world)

    def _of_width(self, width: int) -> Iterable[QueuedJob]:
        return (job for job in self._jobs.values() if job.width == width)

    def _is_ready(self, job: QueuedJob) -> bool:
        if self._stop_at_failure and any(other.state == "failed" for other in self._jobs.values()):
            return False
        return job.state == "waiting" and all(self._jobs[source].state == "done" for source in job.sources)

    def _begin(self, job: QueuedJob, group: Group) -> Claim:
        self._world.in_training[job.fingerprint] = group
        attempt = {"attempts": job.entries["attempts"] + 1, "began": time.time()}
        self._note(job, {"name": job.name, "state": "running", "epochs": job.epochs, **attempt})
        return Claim(job.fingerprint, dict(job.entries))

    def _settle(self, job: QueuedJob, entries: Entries) -> None:
        """Note how an attempt ended: a job without another attempt has failed, and so have those that start from it."""
        if entries["state"] == "waiting" and job.entries["attempts"] >= self._attempts:
            reason = entries.get("reason") or job.entries.get("reason") or LOST
            entries = {**entries, "state": "failed", "reason": f"failed after {self._attempts} attempts: {reason}"}
        self._note(job, entries)
        if job.state == "failed":
            for other in self._jobs.values():
                if job.fingerprint in other.sources and other.state == "waiting":
                    reason = f"{job.name}, from which this job starts, failed"
                    final = job.entries.get("final", False)
                    self._settle(other, {"name": other.name, "state": "failed", "final": final, "reason": reason})

    def _end_world(self) -> None:
        """Take back the jobs in training; those of which no process failed keep their attempt."""
        faults = self._world.faults
        for fingerprint, group in self._world.in_training.items():
            job = self._jobs[fingerprint]
            own = [faults[rank] for rank in range(group.first, group.first + group.width) if rank in faults]
            if faults and not own:
                self._note(job, {"state": "waiting", "attempts": job.entries["attempts"] - 1})
            else:
                self._settle(job, {"state": "waiting", "reason": own[0] if own else job.entries.get("reason")})
        self._world = World("", 0)

    def _note(self, job: QueuedJob, entries: Entries) -> None:
        entries = {**entries, "updated": time.time()}
        job.entries = {**job.entries, **entries}
        self._version += 1
        self._versions[job.fingerprint] |= dict.fromkeys(entries, self._version)
        self._changed.notify_all()
