"""Every stale job, trained at once on Ray → models/. Curves appear in MLflow while it runs."""

from pathlib import Path
from typing import Any

from flows._run import stage
from pipeline import store, tracking
from pipeline.params import Params
from pipeline.train import stage as train_stage
from pipeline.train.ledger import Order


def run(params: Params, root: Path) -> dict[str, float]:
    """The train stage with its curves; the speed of what was trained goes to reports/speed.json."""
    return train_stage.run(params, root, Curves(root))


class Curves:
    """Hands each job's new epochs to its MLflow run, and its speed to reports/speed.json."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.client: Any = None

    def __call__(self, order: Order, entry: dict[str, Any]) -> None:
        """Take up a job's ledger entry."""
        if self.client is None:
            self.client = tracking.client(self.root)
        run = tracking.run(self.client, self.root, order.name, order.fingerprint, order.job.model_dump())
        if entry["state"] == "running":
            run.begin()
        run.log_history(entry.get("history", []))
        if entry["state"] == "failed":
            run.end("FAILED", str(entry["reason"]))
        if entry["state"] == "done":
            speeds = store.read_json(self.root / "reports/speed.json", {})
            measured = {"train_s": entry["seconds"], "train_images_per_s": entry.get("images_per_s")}
            speeds[order.name] = {**speeds.get(order.name, {}), **measured}
            store.write_json(self.root / "reports/speed.json", speeds)


if __name__ == "__main__":
    stage("train", run)
