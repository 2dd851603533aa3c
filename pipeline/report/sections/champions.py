"""The registered champion of each dataset and task, with the reason for the last decision."""

from html import escape
from typing import Any

from pipeline.report._charts import interval_bar
from pipeline.report._html import ABSENT, cell, count_decimals, format_fixed, intro, pill, row_header, table
from pipeline.report.results import ROLES, Results
from pipeline.scores import finite_or_none

TITLE = "Champions"
ORDER = 20


def render(results: Results) -> str:
    """A table of roles and decisions; empty if nothing is registered."""
    if not results.registered:
        return ""
    opening = intro(
        "The champion is the model to use. A new model that ranks first on val images becomes the challenger. It "
        "replaces the champion only if it is significantly better in a paired comparison on the same test images."
    )
    rows = [
        [row_header(escape(name)), *(_role_cell(results, entry, role) for role in ROLES), _decision_cell(entry)]
        for name, entry in sorted(results.registered.items())
    ]
    return opening + table(["model", *ROLES, "decision"], rows)


def _role_cell(results: Results, entry: dict[str, Any], role: str) -> str:
    """The job that has a role; for a champion outside the roster also its score, which no other section shows."""
    holder = entry.get(role)
    if not holder:
        return cell(ABSENT, css_class="")
    name = pill(f"♛ {holder['job']}", "good") if role == "champion" else escape(str(holder["job"]))
    details = f"fingerprint {escape(str(holder.get('fingerprint', ''))[:8])}"
    if role == "champion" and holder["job"] not in results.jobs:
        details += f"<br>not in the current roster; last score: {escape(str(entry.get('score', 'unknown')))}"
    return cell(f'{name}<span class="aside">{details}</span>', css_class="")


def _decision_cell(entry: dict[str, Any]) -> str:
    decision = entry.get("decision") or {}
    numbers = [finite_or_none(decision.get(key)) for key in ("difference", "low", "high")]
    words = escape(str(decision.get("text", "")))
    difference, low, high = numbers
    if difference is None:
        return cell(words, css_class="words")
    extent = [value for value in (*numbers, 0.0) if value is not None]
    digits = count_decimals(extent)
    metric = escape(str(decision.get("metric", "score")))
    bounds = "" if low is None or high is None else f" ({format_fixed(low, digits)} to {format_fixed(high, digits)})"
    bar = interval_bar(difference, low, high, (min(extent), max(extent)), 0.0)
    text = f"{metric}, challenger minus champion: {format_fixed(difference, digits)}{bounds}"
    note = f'<span class="aside">{bar} {text}</span>'
    return cell(words + note, css_class="words")
