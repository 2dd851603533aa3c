"""The count stage: parameters and multiply-adds of each architecture of the roster → reports/parameters.json.

The stage fails if an architecture at its paper's settings has not the published number of parameters.
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

FILE = "reports/parameters.json"


def run(params: Params, root: Path) -> None:
    """Count the architectures of the selected jobs, at their papers' settings and at the jobs'.

    Counts of other jobs with results stay.
    """
    before = store.read_json(root / FILE, {})
    report: dict[str, dict[str, Any]] = {}
    for name in params.kept:
        architecture = params.jobs[name].architecture
        entry = before.get(architecture, {})
        if name in entry.get("jobs", {}) and name not in params.selected():
            report.setdefault(architecture, {**entry, "jobs": {}})["jobs"][name] = entry["jobs"][name]
    for name, job in params.selected().items():
        if job.architecture not in report:
            report[job.architecture] = {"paper": published(job.architecture), "jobs": {}}
        report[job.architecture]["jobs"][name] = _job(name, job, root)
        entry = report[job.architecture]["jobs"][name]
        log.info(f"count: {name:<16} {entry['parameters']:,} parameters, {entry['multiply_adds']:,} multiply-adds")
    store.write_json(root / FILE, report)


def published(architecture: str) -> dict[str, Any]:
    """The count at the paper's settings; UserError if its parameters differ from those in PAPER."""
    paper = plugins.constant("models", architecture, "PAPER")
    channels, size, _ = paper["input"]
    tasks = plugins.constant("models", architecture, "TASKS")
    spec = Spec(tasks[0], paper["classes"], channels, size)
    total = _count(f"pipeline/models/{architecture}.py: PAPER.", architecture, spec, paper["options"])
    if total.parameters != paper["parameters"]:
        raise UserError(
            f"pipeline/models/{architecture}.py: {total.parameters:,} parameters at the paper's settings, "
            f"but PAPER says {paper['parameters']:,}. Correct the network or PAPER."
        )
    return _entry(total, spec, paper["options"]) | {"published": paper["parameters"]}


def _job(name: str, job: Job, root: Path) -> dict[str, Any]:
    dataset = facts(root / "data" / "prepared" / job.dataset)
    classes = getattr(dataset, plugins.constant("tasks", job.task, "CLASSES"))
    spec = Spec(job.task, len(classes), job.channels, job.size, len(dataset.keypoints))
    total = _count(f"params.yaml: jobs.{name}.", job.architecture, spec, job.options)
    return _entry(total, spec, job.options) | {"modules": [asdict(row) for row in total.modules]}


def _count(prefix: str, architecture: str, spec: Spec, options: dict[str, Any]) -> Count:
    """Build and count on the meta device; errors in a setting begin with `prefix`."""
    with torch.device("meta"), _prefixed_errors(prefix):
        network = build_network(architecture, spec, options)
    with _prefixed_errors(f"pipeline/models/{architecture}.py: "):
        return count(network, spec.channels, spec.size, getattr(plugins.load("models", architecture), "trace", None))


@contextlib.contextmanager
def _prefixed_errors(prefix: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}{error}") from error


def _entry(total: Count, spec: Spec, options: dict[str, Any]) -> dict[str, Any]:
    """Totals and the settings that they belong to."""
    settings = {"input": [spec.channels, spec.size, spec.size], "classes": spec.classes, "options": options}
    return {"settings": settings} | {key: value for key, value in asdict(total).items() if key != "modules"}
