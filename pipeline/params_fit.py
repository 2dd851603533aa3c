"""Faults in params.yaml of how images become a network's input: a job's `fit`, and the transforms of its policy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline import plugins

if TYPE_CHECKING:
    from pipeline.params import Job, Params, Transforms

#: path in the file, and the text of the fault
Faults = Iterator[tuple[str, str]]


def faults(params: "Params") -> Faults:
    """What is wrong, as path and text."""
    for name, policy in params.augmentation.items():
        yield from _check_order(f"augmentation.{name}.online", policy.online)
        yield from _check_order(f"augmentation.{name}.staged.transforms", policy.staged.transforms)
    one_seed = {name.rpartition(".")[0] or name: name for name in params.jobs}  # other seeds have the same faults
    for name in one_seed.values():
        yield from _check_fit(f"jobs.{name}", params.jobs[name])
        yield from _check_serves(f"jobs.{name}.augmentation", params.jobs[name], params)


def _check_fit(where: str, job: "Job") -> Faults:
    """Check that the task's predictions can be brought back from the input that the fit makes."""
    if job.task not in plugins.names("tasks"):
        return
    gives = plugins.constant("tasks", job.task, "GIVES") or "positions"
    if job.fit == "crop" and gives == "positions":
        why = f"{job.task} answers in pixels, and what lies outside the crop would have no answer"
        yield f"{where}.fit", f"{why}. Use letterbox, which keeps the whole image and its aspect."
    if job.fit == "letterbox" and gives == "images":
        yield f"{where}.fit", f"the padding would be a part of the images that {job.task} gives. Use crop."
    if job.fit == "letterbox" and gives == "positions" and plugins.options("tasks", job.task, "restore") is None:
        file = plugins.displayed(plugins.source("tasks", job.task))
        why = f"{file} has no `restore`, which brings predictions back from the padded input"
        yield f"{where}.fit", f"{why}. Add it, as pipeline/contracts/task.py describes, or use stretch."


def _check_serves(where: str, job: "Job", params: "Params") -> Faults:
    """Check that the task can be trained with each transform, staged ones too."""
    policy = params.policy(job.policy)
    for name in (name for entry in [*policy.online, *policy.staged.transforms] for name in entry):
        exists = name in plugins.names("augment.transforms")
        tasks = plugins.constant("augment.transforms", name, "TASKS") if exists else None
        if tasks is not None and job.task not in tasks:
            yield where, f"{name} serves {', '.join(tasks)}, not {job.task}. Use another augmentation."


def _check_order(where: str, transforms: "Transforms") -> Faults:
    """Check that what chooses a part of the image comes before all that changes it."""
    for number, name in enumerate(name for transform in transforms for name in transform):
        exists = name in plugins.names("augment.transforms")
        if number and exists and plugins.constant("augment.transforms", name, "BEFORE_FIT"):
            what = f"{name} chooses a part of the image before it is scaled to the job's size"
            yield f"{where}.{number}", f"{what}. Write it first in its list, and once."
