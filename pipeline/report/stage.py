"""The report stage: all that the other stages left → `reports/index.html`, one page that stands alone.

Sections are the files of `pipeline/report/sections/`, shown by their ORDER; one that returns nothing is left out.
Equal inputs give equal bytes. What can't be seen in a text from files or data is written as an escape, whoever put it
there.
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
    """Write the report of the selected jobs; whatever earlier stages did not leave is left out or named missing."""
    results = read(root, params)
    modules = {name: plugins.load(KIND, name) for name in plugins.names(KIND)}
    ordered = sorted(modules, key=lambda name: modules[name].ORDER)
    sections = [Section(name, modules[name].TITLE, modules[name].render(results)) for name in ordered]
    html = page(_lead(results), [section for section in sections if section.html])
    write_bytes(root / "reports" / "index.html", escape_lines(html).encode())
    for trial in results.trials:
        for verdict in trial.verdicts():
            log.info(f"report: {trial.name}: {verdict.claim}: {verdict.word} ({'; '.join(verdict.reasons)})")
    log.info(f"report: {len(results.metrics)} of {len(results.jobs)} jobs in reports/index.html")


def _lead(results: Results) -> str:
    """What was done, in a sentence or two."""
    datasets = escape(", ".join(results.datasets))
    parts = [f"{len(results.metrics)} of {len(results.jobs)} jobs"] if results.jobs else []
    if results.trials:
        names = escape(", ".join(trial.name for trial in results.trials))
        parts.append(f'<a href="#studies">{len(results.trials)} studies</a> ({names})')
    done = f"{' and '.join(parts)} measured on {datasets}."
    if not results.failed:
        return done
    names = escape(", ".join(results.failed))
    return f'{done} <span class="warning">Failed: {names}</span> (<a href="#failures">why</a>).'
