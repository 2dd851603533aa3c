"""Learning curves during training: epochs go to the job's MLflow run, its speed to reports/speed.json."""

from pathlib import Path
from typing import Any

from pipeline import store, tracking
from pipeline.train.job_state import JobSpec


class Curves:
    """Logs each job's new epochs to its MLflow run, and its speed to reports/speed.json."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.client: Any = None
        self.running: dict[str, tracking.Run] = {}

    def __call__(self, job_spec: JobSpec, entry: dict[str, Any]) -> None:
        """Log a job's state: its status, its new epochs, and its speed when it is done."""
        if self.client is None:
            self.client = tracking.client(self.root)
        run = tracking.run(self.client, self.root, job_spec.name, job_spec.fingerprint, job_spec.job.model_dump())
        if entry["state"] == "running":
            run.begin()
            self.running[job_spec.name] = run
        else:
            self.running.pop(job_spec.name, None)
        run.log_history(entry.get("history", []))
        if entry["state"] == "failed":
            run.end("FAILED", str(entry["reason"]))
        if entry["state"] == "done":
            run.end("FINISHED")
            speeds = store.read_json(self.root / "reports/speed.json", {})
            measured = {"train_s": entry["seconds"], "train_images_per_s": entry.get("images_per_s")}
            speeds[job_spec.name] = {**speeds.get(job_spec.name, {}), **measured}
            store.write_json(self.root / "reports/speed.json", speeds)

    def close(self) -> None:
        """Mark the runs of jobs that are still running as KILLED."""
        for run in self.running.values():
            run.end("KILLED")
