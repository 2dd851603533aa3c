"""Which model the registry holds as champion of each dataset and task, and why."""

from html import escape
from typing import Any

from pipeline.report._charts import interval
from pipeline.report._html import ABSENT, cell, decimals, intro, number, pill, row_head, table
from pipeline.report.results import ROLES, Results, finite

TITLE = "Champions"
ORDER = 20


def render(results: Results) -> str:
    """A table of roles and decisions; empty where nothing is registered."""
    if not results.registered:
        return ""
    opening = intro(
        "The champion is the model to use. A new model that ranks first on val images becomes challenger; it takes the "
        "champion’s place only if it is better on the same test images, image by image."
    )
    rows = [
        [row_head(escape(name)), *(_holder(results, entry, role) for role in ROLES), _decision(entry)]
        for name, entry in sorted(results.registered.items())
    ]
    return opening + table(["model", *ROLES, "decision"], rows)


def _holder(results: Results, entry: dict[str, Any], role: str) -> str:
    """Who holds a role; of a champion that is not in the roster now also its score, which stands nowhere else."""
    holder = entry.get(role)
    if not holder:
        return cell(ABSENT, kind="")
    name = pill(f"♛ {holder['job']}", "good") if role == "champion" else escape(str(holder["job"]))
    made = f"fingerprint {escape(str(holder.get('fingerprint', ''))[:8])}"
    if role == "champion" and holder["job"] not in results.jobs:
        made += f"<br>not in the roster now; last measured: {escape(str(entry.get('score', 'not known')))}"
    return cell(f'{name}<span class="aside">{made}</span>', kind="")


def _decision(entry: dict[str, Any]) -> str:
    decision = entry.get("decision") or {}
    numbers = [finite(decision.get(key)) for key in ("difference", "low", "high")]
    words = escape(str(decision.get("text", "")))
    difference, low, high = numbers
    if difference is None:
        return cell(words, kind="words")
    extent = [value for value in (*numbers, 0.0) if value is not None]
    digits = decimals(extent)
    metric = escape(str(decision.get("metric", "score")))
    bounds = "" if low is None or high is None else f" ({number(low, digits)} to {number(high, digits)})"
    bar = interval(difference, low, high, (min(extent), max(extent)), 0.0)
    note = f'<span class="aside">{bar} {metric}, challenger minus champion: {number(difference, digits)}{bounds}</span>'
    return cell(words + note, kind="words")
