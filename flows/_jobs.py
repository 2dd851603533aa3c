"""Jobs in training as Prefect task runs with live state and log; pipeline/train/follow.py reads the jobs' states."""

import contextvars
import queue
from typing import Any

from pipeline.terminal import output
from pipeline.train.follow import line
from pipeline.train.job_state import JobSpec

Entry = dict[str, Any]


class JobRuns:
    """A watcher that starts a job's task run at its first entry and passes on all later ones; close() ends the rest."""

    def __init__(self) -> None:
        self.flow = contextvars.copy_context()  # entries come in a thread without the flow's context
        self.queues: dict[str, queue.SimpleQueue[Entry | None]] = {}
        self.runs: list[Any] = []

    def __call__(self, job_spec: JobSpec, entry: Entry) -> None:
        """Pass on a job's current state."""
        if job_spec.name not in self.queues:
            self.queues[job_spec.name] = queue.SimpleQueue()
            self.runs.append(self.flow.run(_start, job_spec.name, self.queues[job_spec.name]))
        self.queues[job_spec.name].put(entry)

    def close(self) -> None:
        """End the task runs that are still waiting for entries."""
        for entries in self.queues.values():
            entries.put(None)
        for run in self.runs:
            run.wait()


def _start(name: str, entries: queue.SimpleQueue[Entry | None]) -> Any:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(name=name, task_run_name=name, log_prints=True, cache_policy=NO_CACHE)
    def job() -> Any:
        entry: Entry = {"state": "waiting"}
        while (following := entries.get()) is not None:
            entry = following
            output(line(name, entry))
            if entry["state"] in ("done", "failed"):
                break
        return end(entry)

    return job.submit()


def end(entry: Entry) -> Any:
    """The state of a task run, given the last entry of its job state."""
    from prefect.states import Completed, Crashed, Failed

    if entry["state"] == "done":
        return Completed(message=f"{entry['primary']} {entry['value']:.4f} on val" if entry.get("value") else "trained")
    if entry["state"] == "failed":
        return Failed(message=str(entry["reason"]))
    return Crashed(message=f"interrupted after {entry.get('epoch') or 0:.1f} epochs; the next run resumes")
