"""Jobs in training as Prefect task runs: live state and log, read from their ledgers by pipeline/train/follow.py."""

import contextvars
import queue
from typing import Any

from pipeline.terminal import tell
from pipeline.train.follow import line
from pipeline.train.job_state import JobSpec

Entry = dict[str, Any]


class JobRuns:
    """A watcher: begins a job's task run at its first news, and tells it all later ones; close() ends those left."""

    def __init__(self) -> None:
        self.flow = contextvars.copy_context()  # news come in a thread that knows of no flow
        self.news: dict[str, queue.SimpleQueue[Entry | None]] = {}
        self.runs: list[Any] = []

    def __call__(self, job_spec: JobSpec, entry: Entry) -> None:
        """Pass on what a job's state says now."""
        if job_spec.name not in self.news:
            self.news[job_spec.name] = queue.SimpleQueue()
            self.runs.append(self.flow.run(_begin, job_spec.name, self.news[job_spec.name]))
        self.news[job_spec.name].put(entry)

    def close(self) -> None:
        """Nothing more will come."""
        for waiting in self.news.values():
            waiting.put(None)
        for run in self.runs:
            run.wait()


def _begin(name: str, news: queue.SimpleQueue[Entry | None]) -> Any:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(name=name, task_run_name=name, log_prints=True, cache_policy=NO_CACHE)
    def job() -> Any:
        entry: Entry = {"state": "waiting"}
        while (told := news.get()) is not None:
            entry = told
            tell(line(name, entry))
            if entry["state"] in ("done", "failed"):
                break
        return end(entry)

    return job.submit()


def end(entry: Entry) -> Any:
    """The state of a task run whose job's state stands so."""
    from prefect.states import Completed, Crashed, Failed

    if entry["state"] == "done":
        return Completed(message=f"{entry['primary']} {entry['value']:.4f} on val" if entry.get("value") else "trained")
    if entry["state"] == "failed":
        return Failed(message=str(entry["reason"]))
    return Crashed(message=f"interrupted after {entry.get('epoch') or 0:.1f} epochs; the next run resumes")
