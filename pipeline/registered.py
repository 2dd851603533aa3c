"""What reports/registered.json says of registered models, and where the models that it names are at hand.

A champion stays whether or not its job is in the roster: `train` keeps its folder in models/, or in .work/jobs/ where
models/ has a newer one of that job, and MLflow has a copy of every version.
"""

import glob
from pathlib import Path
from typing import Any

from pipeline import store, tracking
from pipeline.metric_names import renamed_decision, renamed_text

FILE = "reports/registered.json"
ROLES = ("champion", "challenger", "previous")


def entries(root: Path) -> dict[str, dict[str, Any]]:
    """The entry of each registered model, with today's names of metrics."""
    stored: dict[str, dict[str, Any]] = store.read_json(root / FILE, {})
    return {model: _renamed(entry) for model, entry in stored.items()}


def _renamed(entry: dict[str, Any]) -> dict[str, Any]:
    values = dict(entry)
    if isinstance(values.get("score"), str):
        values["score"] = renamed_text(values["score"])
    if isinstance(values.get("decision"), dict):
        values["decision"] = renamed_decision(values["decision"])
    return values


def champions(root: Path) -> dict[str, str]:
    """The job of each champion, by the fingerprint that it was trained as."""
    holders = [entry.get("champion") for entry in entries(root).values()]
    return {holder["fingerprint"]: holder["job"] for holder in holders if holder and holder["fingerprint"]}


def jobs(root: Path) -> dict[str, str]:
    """The fingerprint of every registered job; of one with several, that of its role, the champion's before others."""
    found: dict[str, str] = {}
    for entry in entries(root).values():
        found = {job: mark for mark, job in entry.get("models", {}).items()} | found
    for role in reversed(ROLES):
        holders = [entry[role] for entry in entries(root).values() if entry.get(role)]
        found |= {holder["job"]: holder["fingerprint"] for holder in holders if holder["fingerprint"]}
    return found


def folder(root: Path, job: str, mark: str) -> Path | None:
    """A whole copy of the model of this fingerprint; None where there is none."""
    places = [root / "models" / job, root / ".work/jobs" / mark / "model"]
    places += sorted(
        (root / tracking.FOLDER / "artifacts").glob(f"*/*/models/*/artifacts/artifacts/{glob.escape(job)}")
    )
    return next((path for path in places if store.holds(path, mark)), None)
