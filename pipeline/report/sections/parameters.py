"""The size of each network: parameters beside the published number, multiply-adds, memory, receptive field."""

from html import escape
from typing import Any

from pipeline.report._html import ABSENT, cell, format_compact, format_setting, intro, pill, row_header, table
from pipeline.report.results import Results
from pipeline.scores import finite_or_none

TITLE = "Network sizes"
ORDER = 80
NOT_DEFINED = '<span class="absent">not defined</span>'


def render(results: Results) -> str:
    """A row for each published network and one for each job; empty if nothing is counted."""
    rows = []
    for architecture, entry in sorted(results.counts.items()):
        jobs = {job: item for job, item in (entry.get("jobs") or {}).items() if job in results.jobs}
        if entry.get("paper"):
            rows.append(_row(f"{escape(architecture)} {pill('as published')}", entry["paper"]))
        rows += [_row(f'{escape(job)} <span class="aside">{escape(architecture)}</span>', jobs[job]) for job in jobs]
    if not rows:
        return ""
    opening = intro(
        "Counted on the built network, for one image. The receptive field is the side of the input square that one "
        "output depends on; stride is the distance between neighbouring outputs. Both are in input pixels."
    )
    headers = ["network", "settings", "parameters", "published", "multiply-adds", "activation memory"]
    return opening + table([*headers, "receptive field <small>px</small>", "stride <small>px</small>"], rows)


def _row(name: str, counted: dict[str, Any]) -> list[str]:
    parameters, multiply_adds, memory = (
        finite_or_none(counted.get(key)) for key in ("parameters", "multiply_adds", "activation_bytes")
    )
    fields = [counted.get(key) for key in ("receptive_field", "stride")]
    return [
        row_header(name),
        cell(format_setting(counted.get("settings") or {}) or ABSENT, css_class="words"),
        cell(ABSENT if parameters is None else f"{parameters:,.0f}"),
        cell(_published(counted.get("published"), parameters)),
        cell(NOT_DEFINED if multiply_adds is None else format_compact(multiply_adds)),
        cell(NOT_DEFINED if memory is None else format_compact(memory, "B")),
        *(cell(NOT_DEFINED if value is None else format_setting(value)) for value in fields),
    ]


def _published(published: Any, ours: float | None) -> str:
    """The paper's number, and the relative difference of ours."""
    if published is None:
        return ABSENT
    theirs = finite_or_none(published)
    if theirs is None or ours is None or theirs == 0:
        return format_setting(published)
    comparison = "equal" if theirs == ours else f"ours {(ours / theirs - 1) * 100:+.2g} %".replace("-", "−")
    return f'{theirs:,.0f}<span class="aside">{comparison}</span>'
