"""What each process of a training run does: it joins a worker group, which trains one job after the other.

A group takes the next job that no other group has; the lock of a job's folder says who trains it.
"""

import contextlib
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline import disk, store
from pipeline.errors import UserError
from pipeline.params import Train
from pipeline.train import reads, view
from pipeline.train.job_state import JobSpec, JobState, claim, held

#: evaluates a trained job on a device, before its group takes the next; False if there was nothing to do
After = Callable[[JobSpec, str], bool]
#: what `_next` gives while all remaining jobs wait for a job in training, and seconds until it is asked again
WAIT, WAIT_S = "wait", 0.5


def run(
    job_specs: Sequence[JobSpec],
    widths: dict[str, int],
    settings: Train,
    *,
    rank: int,
    world: int,
    device: str = "cpu",
    after: After | None = None,
) -> None:
    """For each group size, form worker groups and train the jobs of that size."""
    from pipeline.train.ranks import form_worker_group

    sizes = sorted(set(widths.values()))
    groups = {each: form_worker_group(rank, world, each, device) for each in sizes}
    for each in sizes * len(sizes):  # repeated for jobs that start from those of another size
        ranks = groups[each]
        if ranks is not None:
            mine = [job_spec for job_spec in job_specs if widths[job_spec.fingerprint] == each]
            train_all(mine, ranks, settings, after)


def train_all(job_specs: Sequence[JobSpec], ranks: Any, settings: Train, after: After | None = None) -> None:
    """Train jobs that no other worker group has taken, until none is left."""
    from pipeline.train import loop, step

    while True:
        ranks.barrier()  # before rank 0 takes a job: other ranks may still finish the last one
        lock, job_spec = _next(job_specs, settings) if ranks.leads else (None, None)
        job_spec = ranks.broadcast(job_spec)
        if job_spec is None:
            return
        if job_spec == WAIT:
            time.sleep(WAIT_S)
            continue
        state = JobState.of(job_spec)
        try:
            _check_reads(job_spec, ranks)
            if ranks.leads:
                view.make(job_spec)
            ranks.barrier()
            loop.train(job_spec, ranks)
            if ranks.leads:
                state.note(state="done", reason=None)
        except step.JobFailedError as error:
            if ranks.leads:
                state.note(state="failed", final=True, reason=str(error))
        except Exception as error:
            if ranks.leads or isinstance(error, UserError):  # which may concern this rank only, such as a full disk
                _note_fault(state, error)
            if ranks.world > 1:
                raise
        finally:
            if lock is not None:
                lock.close()
        if ranks.leads and after is not None and state.read()["state"] == "done":
            _evaluate(after, job_spec, ranks.device)


def _evaluate(after: After, job_spec: JobSpec, device: str) -> None:
    """Evaluate a trained job; if that fails, the evaluate stage tries it again and says what is wrong."""
    state, started = JobState.of(job_spec), time.monotonic()
    try:
        if after(job_spec, device):
            state.note(evaluated=f"evaluated in {time.monotonic() - started:.1f} s")
    except Exception as error:
        with contextlib.suppress(OSError):  # the disk may be full
            state.note(evaluated=f"not evaluated yet ({type(error).__name__}: {' '.join(str(error).split())[:200]})")


def _note_fault(state: JobState, error: Exception) -> None:
    """Write why an attempt failed; no further attempt is made if a person must fix something first."""
    known_error = error if isinstance(error, UserError) else disk.disk_error(error)
    if known_error is not None:
        state.note(
            state="failed",
            final=not isinstance(known_error, disk.DiskError | store.StoreError),
            reason=str(known_error),
        )
    elif state.read()["state"] != "failed":
        reason = f"{type(error).__name__}: {error}"
        state.note(reason=reason[:2000], traceback=traceback.format_exc()[-8000:])


def _check_reads(job_spec: JobSpec, ranks: Any) -> None:
    """Fail a job on all ranks if any of them reads other data, code or weights than the job spec was made from."""
    from pipeline.train.step import JobFailedError

    differences = [text for text in ranks.gather(reads.differences(job_spec)) if text is not None]
    if differences:
        raise JobFailedError("; ".join(dict.fromkeys(differences)))


def _next(job_specs: Sequence[JobSpec], settings: Train) -> tuple[Any, JobSpec | str | None]:
    """The first job that can be trained, with its lock; WAIT if all remaining jobs wait for one in training."""
    waiting = None
    for job_spec in job_specs:
        states = [JobState.of(other).read()["state"] for other in job_specs]
        if "failed" in states and settings.on_failed_job == "stop":
            return None, None
        missing = job_spec.waits_for()
        if not missing:
            lock = claim(job_spec, settings.attempts)
            if lock is not None:
                return lock, job_spec
        elif any(held(work) for work in missing):
            waiting = WAIT
        else:
            _fail_with_source(job_spec, missing)
    return None, waiting


def _fail_with_source(job_spec: JobSpec, missing: Sequence[Path]) -> None:
    """Fail a job whose source failed; it is final if the source's failure is."""
    for source in (JobState(work / "state.json").read() for work in missing):
        if source["state"] == "failed" and JobState.of(job_spec).read()["state"] == "waiting":
            job_spec.work.mkdir(parents=True, exist_ok=True)
            reason = f"{source['name']}, from which this job starts, failed"
            JobState.of(job_spec).note(
                name=job_spec.name, state="failed", final=source.get("final", False), reason=reason
            )
