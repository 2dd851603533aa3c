"""What reports/registered.json says of registered models, and where the models that it names are at hand.

A champion stays whether or not its job is in the roster: `train` keeps its folder in models/, or in .work/jobs/ where
models/ has a newer one of that job, and MLflow has a copy of every version.
"""

import glob
from pathlib import Path
from typing import Any

from pipeline import store, tracking
from pipeline.metric_names import rename_fields, renamed_decision, renamed_text

FILE = "reports/registered.json"
ROLES = ("champion", "challenger", "previous")


def entries(root: Path) -> dict[str, dict[str, Any]]:
    """The entry of each registered model, with today's names of metrics."""
    stored: dict[str, dict[str, Any]] = store.read_json(root / FILE, {})
    return {model: _renamed(entry) for model, entry in stored.items()}


def _renamed(entry: dict[str, Any]) -> dict[str, Any]:
    values = rename_fields(entry, score=renamed_text)
    if isinstance(values.get("decision"), dict):
        values["decision"] = renamed_decision(values["decision"])
    return values


def champions(root: Path) -> dict[str, str]:
    """The job of each champion, by the fingerprint that it was trained as."""
    holders = [entry.get("champion") for entry in entries(root).values()]
    return {holder["fingerprint"]: holder["job"] for holder in holders if holder and holder["fingerprint"]}


def jobs(root: Path) -> dict[str, str]:
    """The fingerprint of every registered job; of one with several, that of its role, the champion's before others."""
    fingerprints: dict[str, str] = {}
    for entry in entries(root).values():
        fingerprints = {job: fingerprint for fingerprint, job in entry.get("models", {}).items()} | fingerprints
    for role in reversed(ROLES):
        holders = [entry[role] for entry in entries(root).values() if entry.get(role)]
        fingerprints |= {holder["job"]: holder["fingerprint"] for holder in holders if holder["fingerprint"]}
    return fingerprints


def folder(root: Path, job: str, fingerprint: str) -> Path | None:
    """An undamaged copy of the model of this fingerprint; None if there is none."""
    copies = [root / "models" / job, root / ".work/jobs" / fingerprint / "model"]
    copies += sorted(
        (root / tracking.FOLDER / "artifacts").glob(f"*/*/models/*/artifacts/artifacts/{glob.escape(job)}")
    )
    return next((path for path in copies if store.holds(path, fingerprint)), None)
