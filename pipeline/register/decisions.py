"""What was decided about champions: as MLflow keeps it with a version, and as people are told of it.

A decision is written down before an alias is changed: from it the next run completes what a kill has interrupted.
"""

import json
from typing import Any

from pipeline.metric_names import renamed_decision

DECISION, PROMOTED = "convline.decision", "convline.promoted"
#: where versions of an earlier convline keep what they were compared with
AGAINST = "convline.compared"
ALREADY = {"text": "is the best on val, and is the champion already"}


def stored(version: Any | None) -> dict[str, Any] | None:
    """The decision that a version carries, with what it was compared `against`; None where none can be read."""
    if version is None:
        return None
    try:
        decision = json.loads(version.tags[DECISION])
    except (KeyError, ValueError):
        return None
    if not isinstance(decision, dict) or not isinstance(decision.get("text"), str) or "promoted" not in decision:
        return None
    return {"against": version.tags.get(AGAINST), **renamed_decision(decision)}


def news(before: dict[str, Any] | None, entry: dict[str, Any]) -> str:
    """What to tell of a model's part of registered.json: a decision is told once, that there can be none always."""
    before = before or {}
    decision, same = entry["decision"], before.get("champion") == entry["champion"]
    if decision == ALREADY:
        return "as before" if same else "is the best on val" if before else "the first: there was none before"
    as_before = same and before.get("decision") == decision and decision.get("trusted", True)
    return "as before" if as_before else str(decision["text"])
