"""Decisions about champions: stored as a tag of a version in MLflow, and worded for the terminal.

A decision is stored before an alias is changed, so that the next run can complete an interrupted promotion.
"""

import json
from typing import Any

from pipeline.metric_names import renamed_decision

DECISION, PROMOTED = "convline.decision", "convline.promoted"
#: the tag in which versions of an earlier convline store what they were compared with
AGAINST = "convline.compared"
ALREADY = {"text": "is the best on val, and is the champion already"}


def stored(version: Any | None) -> dict[str, Any] | None:
    """The decision stored with a version, with what it was compared `against`; None if there is no valid one."""
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
    """One line on a model's entry of registered.json: a new decision, or `as before`; a refusal is always repeated."""
    before = before or {}
    decision, same = entry["decision"], before.get("champion") == entry["champion"]
    if decision == ALREADY:
        return "as before" if same else "is the best on val" if before else "the first champion"
    as_before = same and before.get("decision") == decision and decision.get("trusted", True)
    return "as before" if as_before else str(decision["text"])
