"""The count stage: parameters and multiply-adds of each architecture of the roster → reports/parameters.json.

What can't be counted, or is not defined, is null: counting stops no run.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pipeline import plugins, store
from pipeline.count.layers import count, trainable
from pipeline.errors import UserError
from pipeline.models.parts.spec import Spec, build_network
from pipeline.params import Job, Params
from pipeline.sample import facts

log = logging.getLogger(__name__)

#: what is null where no image can be passed through a network
NOT_COUNTED = ("parameters", "multiply_adds", "activation_bytes", "receptive_field", "stride")

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
        entry = report[job.architecture]["jobs"][name] = _job(name, job, root)
        multiply_adds = "not counted" if entry["multiply_adds"] is None else f"{entry['multiply_adds']:,}"
        log.info(f"count: {name:<16} {entry['parameters']:,} parameters, {multiply_adds} multiply-adds")
    store.write_json(root / FILE, report)


def published(architecture: str) -> dict[str, Any] | None:
    """The count at the paper's settings, beside the published number of parameters; None without a PAPER.

    A test compares both; here they may differ, as may a PAPER whose network can't be built.
    """
    paper = plugins.constant("models", architecture, "PAPER")
    if paper is None:
        return None
    channels, size, _ = paper["input"]
    tasks = plugins.constant("models", architecture, "TASKS")
    spec = Spec(tasks[0], paper["classes"], channels, size)
    what = f"{plugins.displayed(plugins.source('models', architecture))}: PAPER."
    try:
        total = _count(what, architecture, spec, paper["options"])
    except Exception as error:
        log.warning(f"count: {what.rstrip('.')}: not counted ({error})")
        return None
    return _entry(total, spec, paper["options"]) | {"published": paper["parameters"]}


def _job(name: str, job: Job, root: Path) -> dict[str, Any]:
    dataset = facts(root / "data" / "prepared" / job.dataset)
    classes = getattr(dataset, plugins.constant("tasks", job.task, "CLASSES"))
    spec = Spec(plugins.network_task(job.task), len(classes), job.channels, job.size, len(dataset.keypoints))
    total = _count(f"params.yaml: jobs.{name}.", job.architecture, spec, job.options)
    return _entry(total, spec, job.options) | {"modules": total["modules"]}


def _count(prefix: str, architecture: str, spec: Spec, options: dict[str, Any]) -> dict[str, Any]:
    """Build and count on the meta device, or on the CPU if a layer needs values.

    If no image can be passed through, the parameters alone are counted. Errors in a setting begin with `prefix`.
    """
    trace = getattr(plugins.load("models", architecture), "trace", None)
    with _prefixed_errors(prefix):
        for device in ("meta", "cpu"):
            try:
                with torch.random.fork_rng(devices=[]), torch.device(device):
                    network = build_network(architecture, spec, options)
                    return asdict(count(network, spec.channels, spec.size, trace, device))
            except UserError:
                raise
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
        log.warning(f"count: {prefix.rstrip('.')}: only the parameters can be counted ({reason})")
        with torch.random.fork_rng(devices=[]):
            parameters = trainable(build_network(architecture, spec, options).parameters())
        return {**dict.fromkeys(NOT_COUNTED), "parameters": parameters, "modules": []}


@contextlib.contextmanager
def _prefixed_errors(prefix: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}{error}") from error


def _entry(total: dict[str, Any], spec: Spec, options: dict[str, Any]) -> dict[str, Any]:
    """Totals and the settings that they belong to."""
    settings = {"input": [spec.channels, spec.size, spec.size], "classes": spec.classes, "options": options}
    return {"settings": settings} | {key: value for key, value in total.items() if key != "modules"}
