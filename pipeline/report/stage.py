"""The report stage: the outputs of all other stages → `reports/index.html`, one self-contained page.

Sections are the files of `pipeline/report/sections/`, sorted by their ORDER; a section that returns "" is left out.
Equal inputs give equal bytes. Control characters in text from files or data are written as escapes.
"""

import logging
from html import escape
from pathlib import Path

from pipeline import plugins
from pipeline.params import Params
from pipeline.report.page import Section, page
from pipeline.report.results import Results, read
from pipeline.store import write_bytes
from pipeline.terminal import escape_lines

log = logging.getLogger(__name__)

KIND = "report.sections"


def run(params: Params, root: Path) -> None:
    """Write the report of the selected jobs; missing outputs of earlier stages are left out or named as missing."""
    results = read(root, params)
    modules = {name: plugins.load(KIND, name) for name in plugins.names(KIND)}
    ordered = sorted(modules, key=lambda name: modules[name].ORDER)
    sections = [Section(name, modules[name].TITLE, modules[name].render(results)) for name in ordered]
    html = page(_lead(results), [section for section in sections if section.html])
    write_bytes(root / "reports" / "index.html", escape_lines(html).encode())
    for study in results.studies:
        for judged in study.judge_claims():
            log.info(f"report: {study.name}: {judged.claim}: {judged.outcome} ({'; '.join(judged.reasons)})")
    log.info(f"report: {len(results.metrics)} of {len(results.jobs)} jobs in reports/index.html")


def _lead(results: Results) -> str:
    """The page's first paragraph: how many jobs were measured, on which datasets, and which failed."""
    datasets = escape(", ".join(results.datasets))
    parts = [f"{len(results.metrics)} of {len(results.jobs)} jobs"] if results.jobs else []
    if results.studies:
        names = escape(", ".join(study.name for study in results.studies))
        count = len(results.studies)
        parts.append(f'<a href="#studies">{count} {"study" if count == 1 else "studies"}</a> ({names})')
    measured = f"{' and '.join(parts)} measured on {datasets}."
    if not results.failed:
        return measured
    names = escape(", ".join(results.failed))
    return f'{measured} <span class="warning">Failed: {names}</span> (<a href="#failures">why</a>).'
