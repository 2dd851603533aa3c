"""The tables on a run's page in Prefect: jobs and decisions, as lists of rows."""

from pathlib import Path
from typing import Any

from pipeline import store, tracking
from pipeline.metric_names import renamed, renamed_scores
from pipeline.register.decisions import news
from pipeline.scores import words
from pipeline.train.job_state import JobState

Rows = list[dict[str, Any]]


def fingerprints(root: Path) -> dict[str, str]:
    """The fingerprints of the models in models/, by job."""
    return {path.name: store.manifest(path)["fingerprint"] for path in sorted((root / "models").glob("*/"))}


def jobs(root: Path, fingerprints: dict[str, str], mlflow: str | None) -> Rows:
    """One row per job: score, seconds of training if trained here, link to its run if MLflow's server is up."""
    client = tracking.client(root)
    rows = []
    for name, fingerprint in fingerprints.items():
        seconds = _job_state(root, fingerprint)["seconds"]
        page = tracking.page(client, fingerprint)
        link = f"[run]({mlflow}/{page})" if mlflow and page else ""
        rows.append(
            {"job": name, "score": score(root, name, fingerprint), "seconds": round(seconds, 1) or None, "MLflow": link}
        )
    return rows


def score(root: Path, name: str, fingerprint: str) -> str:
    """`test top1 0.9883 [0.9738, 0.9971]` if exactly this model was evaluated, else its score on val from training."""
    metrics = store.read_json(root / "metrics" / f"{name}.json")
    if metrics is not None and store.holds(root / "models" / name, fingerprint):
        return words(renamed_scores(metrics))
    entry = _job_state(root, fingerprint)
    if entry["state"] == "done" and entry.get("value") is not None:
        return f"val {renamed(entry['primary'])} {entry['value']:.4f}"
    return str(entry.get("reason") or entry["state"])


def _job_state(root: Path, fingerprint: str) -> dict[str, Any]:
    return JobState(root / ".work/jobs" / fingerprint / "state.json").read()


def decisions(before: dict[str, Any], after: dict[str, Any]) -> Rows:
    """One row per registered model: champion before and after, and the decision with its numbers."""
    rows = []
    for model, entry in after.items():
        decision = news(before.get(model), entry)
        numbers = {} if decision == "as before" else entry["decision"]
        rows.append(
            {
                "model": model,
                "before": _holder(before.get(model, {}).get("champion")),
                "champion": _holder(entry["champion"]),
                **{name: numbers.get(name) for name in ("metric", "difference", "low", "high")},
                "decision": decision,
            }
        )
    return rows


def _holder(entry: dict[str, str] | None) -> str:
    return "none" if entry is None else f"{entry['job']} {entry['fingerprint'][:8]}"
