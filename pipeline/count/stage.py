"""The `count` stage: what each architecture of the roster costs → reports/parameters.json.

Promise: at its paper's settings an architecture has the published number of parameters, or the stage fails.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pipeline import plugins, store
from pipeline.count.layers import Count, count
from pipeline.errors import UserError
from pipeline.models.parts.spec import Spec, build_network
from pipeline.params import Job, Params
from pipeline.sample import facts

log = logging.getLogger(__name__)


def run(params: Params, root: Path) -> None:
    """Count the architectures of the selected jobs, at their papers' settings and at the jobs'."""
    report: dict[str, dict[str, Any]] = {}
    for name, job in params.selected().items():
        if job.architecture not in report:
            report[job.architecture] = {"paper": published(job.architecture), "jobs": {}}
        report[job.architecture]["jobs"][name] = _job(name, job, root)
        found = report[job.architecture]["jobs"][name]
        log.info(f"count: {name:<16} {found['parameters']:,} parameters, {found['multiply_adds']:,} multiply-adds")
    store.write_json(root / "reports" / "parameters.json", report)


def published(architecture: str) -> dict[str, Any]:
    """The count at the paper's settings; UserError where the parameters are not those that the file promises."""
    paper = plugins.constant("models", architecture, "PAPER")
    channels, size, _ = paper["input"]
    tasks = plugins.constant("models", architecture, "TASKS")
    spec = Spec(tasks[0], paper["classes"], channels, size)
    found = _count(f"pipeline/models/{architecture}.py: PAPER.", architecture, spec, paper["options"])
    if found.parameters != paper["parameters"]:
        raise UserError(
            f"pipeline/models/{architecture}.py: {found.parameters:,} parameters at the paper's settings, "
            f"but PAPER says {paper['parameters']:,}. Mend the network or the constant."
        )
    return _entry(found, spec, paper["options"]) | {"published": paper["parameters"]}


def _job(name: str, job: Job, root: Path) -> dict[str, Any]:
    known = facts(root / "data" / "prepared" / job.dataset)
    classes = getattr(known, plugins.constant("tasks", job.task, "CLASSES"))
    spec = Spec(job.task, len(classes), job.channels, job.size, len(known.points))
    found = _count(f"params.yaml: jobs.{name}.", job.architecture, spec, job.options)
    return _entry(found, spec, job.options) | {"modules": [asdict(row) for row in found.modules]}


def _count(place: str, architecture: str, spec: Spec, options: dict[str, Any]) -> Count:
    """Build and count on the meta device; what is wrong with a setting is said at `place`."""
    with torch.device("meta"), _errors_at(place):
        network = build_network(architecture, spec, options)
    with _errors_at(f"pipeline/models/{architecture}.py: "):
        return count(network, spec.channels, spec.size, getattr(plugins.load("models", architecture), "trace", None))


@contextlib.contextmanager
def _errors_at(place: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}{error}") from error


def _entry(found: Count, spec: Spec, options: dict[str, Any]) -> dict[str, Any]:
    """Totals and the settings that they belong to."""
    settings = {"input": [spec.channels, spec.size, spec.size], "classes": spec.classes, "options": options}
    return {"settings": settings} | {key: value for key, value in asdict(found).items() if key != "modules"}
