"""MLflow runs: one a fingerprint, found again by it, so that a retry or a resume never makes a second one.

Metric names are the same for every architecture, because that is what makes runs comparable. Everything is
logged through the stateless client, by one process, and each step once. A process can be killed between any two
statements, so each function compares what it wants with what is stored, and writes the difference.
"""

import dataclasses
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline import addresses, database, preflight, store
from pipeline.images import decode

log = logging.getLogger(__name__)

FINGERPRINT, SYNCED = "convline.fingerprint", "convline.synced"
FOLDER = "mlruns"
LOSS, PICTURES = "train/loss", "pictures"
#: the step in the name that MLflow gives an image
STEP = re.compile(r"\+step\+(\d+)\+")
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def uri(root: Path) -> str:
    """MLflow's SQLite file, also while a server shows it."""
    return f"sqlite:///{(root / FOLDER).resolve() / addresses.DATABASE}"


def client(root: Path) -> Any:
    """A client on a database that exists: its first use migrates, which two processes must not do at once.

    Before that its addresses are made right where the project was moved.
    """
    os.environ.update(ENVIRONMENT)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    preflight.check(root, (database.faults,))
    (root / FOLDER).mkdir(exist_ok=True)
    mlflow.set_tracking_uri(uri(root))
    with store.locked(root / ".work/mlflow.lock", "another MLflow start", wait=True):
        addresses.update(root / FOLDER)
        _make_tables(root / FOLDER)
        made = mlflow.MlflowClient(uri(root))
        made.search_experiments(max_results=1)
    return made


def _make_tables(folder: Path) -> None:
    """MLflow's file, whole or not at all: half of its migrations, which a kill leaves, fail in every later run."""
    import mlflow

    file, trial = folder / addresses.DATABASE, folder / f".{addresses.DATABASE}.new"
    if file.exists():
        return
    for left in folder.glob(f"{trial.name}*"):
        left.unlink()
    mlflow.MlflowClient(f"sqlite:///{trial.resolve()}").search_experiments(max_results=1)
    os.replace(trial, file)


@dataclasses.dataclass(frozen=True)
class Run:
    """One job's run: where it is, and the fingerprint that finds it again."""

    client: Any
    run_id: str

    def stored(self) -> Any:
        """The run as MLflow holds it."""
        return self.client.get_run(self.run_id)

    def tags(self) -> dict[str, str]:
        """The run's tags."""
        return dict(self.stored().data.tags)

    def log_params(self, settings: dict[str, Any], stored: dict[str, str]) -> None:
        """Settings as parameters, those that are not `stored` yet."""
        from mlflow.entities import Param

        wanted = {key: str(value)[:6000] for key, value in flat(settings).items()}
        params = [Param(key, value) for key, value in wanted.items() if key not in stored]
        for start in range(0, len(params), 100):
            self.client.log_batch(self.run_id, params=params[start : start + 100])

    def log_history(self, history: Sequence[dict[str, float]]) -> None:
        """Learning curves by epoch; epochs that are there already are not logged again.

        An epoch's loss is the last of its metrics to be logged, so an epoch that has it is there as a whole.
        """
        from mlflow.entities import Metric

        logged = self.client.get_metric_history(self.run_id, LOSS)
        last = max((metric.step for metric in logged), default=0)
        metrics = []
        for row in history:
            epoch = int(row["epoch"])
            if epoch > last:
                names = sorted((name for name in row if name not in ("epoch", "step")), key=LOSS.__eq__)
                metrics += [Metric(metric_name(name), float(row[name]), epoch * 1000, epoch) for name in names]
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + 1000])

    def log_totals(self, totals: dict[str, float | None], model_id: str | None = None) -> None:
        """Final numbers, at step 0, of the run or of its logged model; what is not a number is left out.

        MLflow shows the latest of one step: a number that has changed gets the present time, where others have none.
        """
        from mlflow.entities import Metric

        if model_id is None:
            stored = self.stored().data.metrics
        else:
            logged = sorted(self.client.get_logged_model(model_id).metrics or [], key=lambda metric: metric.timestamp)
            stored = {metric.key: metric.value for metric in logged}
        now = round(time.time() * 1000)
        wanted = {metric_name(name): float(value) for name, value in totals.items() if value is not None}
        metrics = [
            Metric(name, value, now if name in stored else 0, 0, model_id=model_id)
            for name, value in wanted.items()
            if stored.get(name) != value
        ]
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + 1000])

    def log_dataset(self, name: str, digest: str) -> None:
        """The prepared dataset as the run's input, by its digest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = f'{{"uri": "data/prepared/{name}"}}'
        dataset = Dataset(name, digest[:32], "local", source)
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
        self.client.log_inputs(self.run_id, datasets=inputs)

    def log_pictures(self, folder: Path, *, anew: bool) -> None:
        """Every PNG of a folder, as artifacts; unless `anew`, those that are there in full are left as they are."""
        there = (
            {} if anew else {item.path: item.file_size for item in self.client.list_artifacts(self.run_id, PICTURES)}
        )
        for path in sorted(folder.glob("*.png")):
            if there.get(f"{PICTURES}/{path.name}") != path.stat().st_size:
                self.client.log_artifact(self.run_id, str(path), PICTURES)

    def log_snapshots(self, pictures: dict[int, Path]) -> None:
        """Pictures of a training as images by step; epochs that are there already are not logged again."""
        from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES

        steps = [STEP.search(item.path) for item in self.client.list_artifacts(self.run_id, "images")]
        files = Counter(int(match[1]) for match in steps if match)
        for epoch, path in pictures.items():
            if files[epoch] < 2:  # the image, and the small one that the page shows
                self.client.log_image(self.run_id, decode(path), key="snapshot", step=epoch, timestamp=epoch * 1000)
        if pictures and MLFLOW_LOGGED_IMAGES not in self.tags():  # it is set after the files
            self.client.set_tag(self.run_id, MLFLOW_LOGGED_IMAGES, True)

    def begin(self) -> None:
        """Say RUNNING again, where a resumed job's run had been ended."""
        if self.client.get_run(self.run_id).info.status != "RUNNING":
            self.client.update_run(self.run_id, status="RUNNING")

    def end(self, status: str, reason: str | None = None) -> None:
        """Set the final status, FINISHED, FAILED or KILLED, and why."""
        if reason is not None:
            self.client.set_tag(self.run_id, "convline.reason", reason[:5000])
        self.client.set_terminated(self.run_id, status)


def end_orphans(made: Any, trained: Callable[[str], bool]) -> None:
    """Mark runs KILLED that say RUNNING though nothing trains their fingerprint: a killed process can't say so."""
    numbers = [item.experiment_id for item in made.search_experiments()]
    for stored in made.search_runs(numbers, "attributes.status = 'RUNNING'"):
        fingerprint = stored.data.tags.get(FINGERPRINT)
        if fingerprint is not None and not trained(fingerprint):
            made.set_terminated(stored.info.run_id, "KILLED")


def statuses(made: Any) -> dict[str, tuple[str, str]]:
    """Name and status of each job's run, by fingerprint."""
    numbers = [item.experiment_id for item in made.search_experiments()]
    runs = made.search_runs(numbers) if numbers else []
    return {
        stored.data.tags[FINGERPRINT]: (stored.info.run_name, stored.info.status)
        for stored in runs
        if FINGERPRINT in stored.data.tags
    }


def experiment(made: Any, root: Path, dataset: str, task: str) -> str:
    """The experiment `<dataset>/<task>`, its artifacts at an absolute place so that models load without a server."""
    name = f"{dataset}/{task}"
    existing = made.get_experiment_by_name(name)
    if existing is not None:
        if existing.lifecycle_stage == "deleted":
            made.restore_experiment(existing.experiment_id)
            log.info(f"mlflow: the experiment {name} had been deleted, with its runs; they are restored")
        return str(existing.experiment_id)
    location = ((root / FOLDER).resolve() / "artifacts" / dataset / task).as_uri()
    kind = {"mlflow.experimentKind": "custom_model_development"}  # the page opens on training runs
    return str(made.create_experiment(name, artifact_location=location, tags=kind))


def deleted(made: Any) -> set[str]:
    """Names of experiments that were deleted in MLflow, and that it keeps."""
    from mlflow.entities import ViewType

    return {item.name for item in made.search_experiments(view_type=ViewType.DELETED_ONLY)}


def run(made: Any, root: Path, name: str, fingerprint: str, settings: dict[str, Any]) -> Run:
    """The run of a fingerprint, begun if it is new; named after the job, and with all its parameters."""
    number = experiment(made, root, settings["dataset"], settings["task"])
    with store.locked(root / ".work/mlflow.lock", "another MLflow start", wait=True):
        existing = made.search_runs([number], f"tags.`{FINGERPRINT}` = '{fingerprint}'", max_results=1)
        if existing:
            (stored,) = existing
            if stored.info.run_name != name:
                made.update_run(stored.info.run_id, name=name)
        else:
            tags = {FINGERPRINT: fingerprint, "task": settings["task"], "architecture": settings["architecture"]}
            stored = made.create_run(number, run_name=name, tags=tags)
    begun = Run(made, stored.info.run_id)
    begun.log_params(settings, stored.data.params)
    return begun


def page(made: Any, fingerprint: str) -> str | None:
    """Where MLflow's pages show the run of a fingerprint, below the server's address; None if there is no such run."""
    numbers = [item.experiment_id for item in made.search_experiments()]
    runs = made.search_runs(numbers, f"tags.`{FINGERPRINT}` = '{fingerprint}'", max_results=1)
    return f"#/experiments/{runs[0].info.experiment_id}/runs/{runs[0].info.run_id}" if runs else None


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names."""
    items: dict[str, Any] = {}
    for key, value in settings.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return items


def metric_name(name: str) -> str:
    """A name that MLflow takes: `recall[3]` → `recall.3`."""
    return re.sub(r"[^\w\-. /:]", "_", name.replace("[", ".").replace("]", ""))
