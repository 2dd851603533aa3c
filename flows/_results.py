"""What a run leaves for its page: tables of jobs and of decisions, as lists of rows."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pipeline import store, tracking
from pipeline.evaluate.stage import words
from pipeline.register.decisions import news
from pipeline.train.job_state import JobState

Rows = list[dict[str, Any]]


def marks(root: Path) -> dict[str, str]:
    """The fingerprints of the models that are in place, by job."""
    return {path.name: store.manifest(path)["fingerprint"] for path in sorted((root / "models").glob("*/"))}


def jobs(root: Path, marks: dict[str, str], mlflow: str | None) -> Rows:
    """A row a job: score, seconds of training where that was here, and its run in MLflow where a server shows it."""
    client = tracking.client(root)
    rows = []
    for name, mark in marks.items():
        seconds = _ledger(root, mark)["seconds"]
        page = tracking.page(client, mark)
        link = f"[run]({mlflow}/{page})" if mlflow and page else ""
        rows.append(
            {"job": name, "score": score(root, name, mark), "seconds": round(seconds, 1) or None, "MLflow": link}
        )
    return rows


def score(root: Path, name: str, mark: str) -> str:
    """`test top1 0.9883 [0.9738, 0.9971]` where this very model was measured, else what training saw of val."""
    metrics = store.read_json(root / "metrics" / f"{name}.json")
    if metrics is None or not store.holds(root / "models" / name, mark):
        metrics = store.read_json(root / ".work/jobs" / mark / "scores.json")
    if metrics is not None:
        return words(metrics)
    entry = _ledger(root, mark)
    if entry["state"] == "done" and entry.get("value") is not None:
        return f"val {entry['primary']} {entry['value']:.4f}"
    return str(entry.get("reason") or entry["state"])


def _ledger(root: Path, mark: str) -> dict[str, Any]:
    return JobState(root / ".work/jobs" / mark / "state.json").read()


def outlook(names: Sequence[str], roster: Collection[str]) -> str:
    """What the next full run makes of chosen jobs: those of the roster it takes up."""
    inside, outside = ([name for name in names if (name in roster) is there] for there in (True, False))
    parts = [f"the next full run takes up {', '.join(inside)}"] if inside else []
    if outside:
        parts.append(f"not in the roster, so that no full run takes them up: {', '.join(outside)}")
    return "; ".join(parts)


def decisions(before: dict[str, Any], after: dict[str, Any]) -> Rows:
    """A row a registered model: who was champion, who is, and the words and numbers that decided."""
    rows = []
    for model, entry in after.items():
        told = news(before.get(model), entry)
        numbers = {} if told == "as before" else entry["decision"]
        rows.append(
            {
                "model": model,
                "before": _holder(before.get(model, {}).get("champion")),
                "champion": _holder(entry["champion"]),
                **{name: numbers.get(name) for name in ("metric", "difference", "low", "high")},
                "decision": told,
            }
        )
    return rows


def _holder(entry: dict[str, str] | None) -> str:
    return "none" if entry is None else f"{entry['job']} {entry['fingerprint'][:8]}"
