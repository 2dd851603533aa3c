"""What each process of a training run does: with its worker group it trains one job after the other.

The job queue (job_queue.py) says which jobs, and in which phases groups of which size are formed.
"""

import contextlib
import datetime
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import disk, store
from pipeline.errors import UserError
from pipeline.train import reads, view
from pipeline.train.job_queue import Claim, Entries, Group
from pipeline.train.job_state import JobSpec, hold

#: evaluates a trained job on a device, before its group takes the next; False if there was nothing to do
After = Callable[[JobSpec, str], bool]


@dataclass(frozen=True)
class Member:
    """This process in its world, and its calls to the job queue, by method and arguments."""

    call: Callable[..., Any]
    world: str
    size: int
    rank: int

    def enter(self, title: str) -> None:
        """Join the world; `title` is what messages call this process."""
        self.call("enter", self.world, self.size, self.rank, title)

    def ask(self, method: str, *arguments: Any) -> Any:
        """The answer to a question that all processes concerned ask."""
        return self.call(method, self.world, *arguments, self.rank)


class Assignment:
    """The job that a group was given as this process sees it: the state of the job (State), and calls about it."""

    def __init__(self, member: Member, group: Group, number: int, claim: Claim) -> None:
        self.fingerprint, self._entries = claim.fingerprint, dict(claim.entries)
        self._member, self._group, self._number = member, group, number

    def read(self) -> Entries:
        """The entries at the claim, and those noted since."""
        return {"seconds": 0.0, **self._entries}

    def note(self, **entries: Any) -> None:
        """Add or replace entries."""
        self._entries |= entries
        self._member.call("note", self.fingerprint, {"pid": os.getpid(), **entries})

    def end(self, **entries: Any) -> None:
        """Say how the attempt ended."""
        self._member.call("end", self._member.world, self.fingerprint, self._member.rank, entries)

    def meet(self) -> None:
        """Wait for the other members."""
        self._member.ask("meet", self._group, self._number)

    def silent(self) -> list[str]:
        """What the members are called that do not answer, when this one has waited in vain."""
        titles: list[str] = self._member.ask("name_silent", self._group, self._number)
        return titles


def run(
    job_specs: Sequence[JobSpec],
    widths: Sequence[int],
    member: Member,
    *,
    device: str = "cpu",
    timeout: datetime.timedelta | None = None,
    after: After | None = None,
) -> None:
    """Train jobs until the queue has none left.

    Args:
        job_specs: All jobs of the run.
        widths: The sizes of worker groups that they need.
        member: This process.
        device: On which it trains.
        timeout: How long the processes of a group wait for one that does not answer.
        after: Evaluates each trained job.
    """
    from pipeline.train.ranks import form_worker_group

    by_fingerprint = {job_spec.fingerprint: job_spec for job_spec in job_specs}
    groups = {
        width: form_worker_group(member.rank, member.size, width, device, timeout) for width in sorted(set(widths))
    }
    phase = 0
    while (width := member.ask("choose_width", phase)) is not None:
        ranks = groups[width]
        if ranks is not None:
            _train_all(by_fingerprint, ranks, Group(phase, ranks.members[0], width), member, after)
        phase += 1


def _train_all(job_specs: dict[str, JobSpec], ranks: Any, group: Group, member: Member, after: After | None) -> None:
    """Train the jobs that the group is given in one phase."""
    number = 0
    while (claim := member.ask("take", group, number)) is not None:
        job_spec, assignment = job_specs[claim.fingerprint], Assignment(member, group, number, claim)
        done = _train(job_spec, ranks, assignment)
        if done and ranks.leads and after is not None:
            _evaluate(after, job_spec, ranks.device, assignment)
        number += 1


def _train(job_spec: JobSpec, ranks: Any, assignment: Assignment) -> bool:
    """Train a job and tell the queue how that ended; whether it is done."""
    from pipeline.train import loop, step

    try:
        with hold(job_spec.work) if ranks.leads else contextlib.nullcontext():
            _check_reads(job_spec, ranks)
            if ranks.leads:
                assignment.note()  # which process leads
                view.make(job_spec, assignment)
            assignment.meet()
            loop.train(job_spec, ranks, assignment)
        if ranks.leads:
            assignment.end(state="done", reason=None)
    except step.JobFailedError as error:
        if ranks.leads:
            assignment.end(state="failed", final=True, reason=str(error))
    except Exception as error:
        assignment.end(**_explain(error, ranks, assignment))
        if ranks.world > 1:
            raise
    else:
        return True
    return False


def _evaluate(after: After, job_spec: JobSpec, device: str, assignment: Assignment) -> None:
    """Evaluate a trained job; if that fails, the evaluate stage tries it again and says what is wrong."""
    started = time.monotonic()
    try:
        if after(job_spec, device):
            assignment.note(evaluated=f"evaluated in {time.monotonic() - started:.1f} s")
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        assignment.note(evaluated=f"not evaluated yet ({type(error).__name__}: {reason})")


def _explain(error: Exception, ranks: Any, assignment: Assignment) -> Entries:
    """How a job stands after an error; no further attempt is made if a person must fix something first."""
    known_error = error if isinstance(error, UserError) else disk.disk_error(error)
    if known_error is not None:
        final = not isinstance(known_error, disk.DiskError | store.StoreError)
        return {"state": "failed", "final": final, "reason": str(known_error)}
    reason = f"{type(error).__name__}: {error}"
    if ranks.world > 1 and "timed out" in reason.lower():
        silent = assignment.silent()
        reason = f"{' and '.join(silent)} did not answer in time; {reason}" if silent else reason
    return {"state": "waiting", "reason": reason[:2000], "traceback": traceback.format_exc()[-8000:]}


def _check_reads(job_spec: JobSpec, ranks: Any) -> None:
    """Fail a job on all ranks if any of them reads other data, code or weights than the job spec was made from."""
    from pipeline.train.step import JobFailedError

    differences = [text for text in ranks.gather(reads.differences(job_spec)) if text is not None]
    if differences:
        raise JobFailedError("; ".join(dict.fromkeys(differences)))
