"""What a run leaves for its page: tables of jobs and of decisions, as lists of rows."""

from pathlib import Path
from typing import Any

from pipeline import store, tracking
from pipeline.train.ledger import Ledger, Order

Rows = list[dict[str, Any]]


def jobs(root: Path, orders: dict[str, Order], mlflow: str | None) -> Rows:
    """A row a job: score, seconds of training, and its run in MLflow where a server shows it."""
    client = tracking.client(root)
    rows = []
    for name, order in orders.items():
        entry = Ledger.of(order).read()
        page = tracking.page(client, order.fingerprint)
        link = f"[run]({mlflow}/{page})" if mlflow and page else ""
        seconds = round(entry["seconds"], 1)
        rows.append({"job": name, "score": score(root, name, order), "seconds": seconds, "MLflow": link})
    return rows


def score(root: Path, name: str, order: Order) -> str:
    """`test top1 0.9883 [0.9738, 0.9971]` where this very model was measured, else what training saw of val."""
    metrics = store.read_json(root / "metrics" / f"{name}.json")
    if metrics is not None and store.holds(root / "models" / name, order.fingerprint):
        primary = metrics["primary"]
        value, low, high = (metrics[primary + end] for end in ("", "_low", "_high"))
        return f"test {primary} {value:.4f} [{low:.4f}, {high:.4f}]"
    entry = Ledger.of(order).read()
    if entry["state"] == "done" and entry.get("value") is not None:
        return f"val {entry['primary']} {entry['value']:.4f}"
    return str(entry.get("reason") or entry["state"])


def decisions(before: dict[str, Any], after: dict[str, Any]) -> Rows:
    """A row a registered model: who was champion, who is, and the words and numbers that decided."""
    rows = []
    for model, entry in after.items():
        decision = entry["decision"] if entry != before.get(model) else {"text": "as before"}
        rows.append(
            {
                "model": model,
                "before": _holder(before.get(model, {}).get("champion")),
                "champion": _holder(entry["champion"]),
                **{name: decision.get(name) for name in ("metric", "difference", "low", "high")},
                "decision": decision["text"],
            }
        )
    return rows


def _holder(entry: dict[str, str] | None) -> str:
    return "none" if entry is None else f"{entry['job']} {entry['fingerprint'][:8]}"
