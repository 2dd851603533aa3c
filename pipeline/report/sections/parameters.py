"""The networks by count: parameters beside the published number, multiply-adds, memory and receptive field."""

from html import escape
from typing import Any

from pipeline.report._html import ABSENT, cell, compact, intro, pill, plain, row_head, table
from pipeline.report.results import Results, finite

TITLE = "Networks by count"
ORDER = 80


def render(results: Results) -> str:
    """A row for each network as its paper has it and one for each job; empty where nothing was counted."""
    rows = []
    for architecture, entry in sorted(results.counts.items()):
        jobs = {job: item for job, item in (entry.get("jobs") or {}).items() if job in results.jobs}
        if entry.get("paper"):
            rows.append(_row(f"{escape(architecture)} {pill('as published')}", entry["paper"]))
        rows += [_row(f'{escape(job)} <span class="aside">{escape(architecture)}</span>', jobs[job]) for job in jobs]
    if not rows:
        return ""
    opening = intro(
        "Counted on the network itself, for one image. The receptive field is the side of the square of input pixels "
        "that one output can see; stride is the step between neighbouring outputs, both in input pixels."
    )
    heads = ["network", "settings", "parameters", "published", "multiply-adds", "activation memory"]
    return opening + table([*heads, "receptive field <small>px</small>", "stride <small>px</small>"], rows)


def _row(name: str, counted: dict[str, Any]) -> list[str]:
    parameters, multiply_adds, memory = (
        finite(counted.get(key)) for key in ("parameters", "multiply_adds", "activation_bytes")
    )
    return [
        row_head(name),
        cell(plain(counted.get("settings") or {}) or ABSENT, kind="words"),
        cell(ABSENT if parameters is None else f"{parameters:,.0f}"),
        cell(_published(counted.get("published"), parameters)),
        cell(compact(multiply_adds)),
        cell(compact(memory, "B")),
        *(cell(ABSENT if counted.get(key) is None else plain(counted[key])) for key in ("receptive_field", "stride")),
    ]


def _published(published: Any, ours: float | None) -> str:
    """The paper's number, and how ours compares with it."""
    if published is None:
        return ABSENT
    theirs = finite(published)
    if theirs is None or ours is None or theirs == 0:
        return plain(published)
    verdict = "equal" if theirs == ours else f"ours {(ours / theirs - 1) * 100:+.2g} %".replace("-", "−")
    return f'{theirs:,.0f}<span class="aside">{verdict}</span>'
