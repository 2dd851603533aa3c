"""params.yaml as typed, frozen values: read once, checked whole, before any work starts.

Every fault is listed with its place, and a wrong name with its near match. The YAML is 1.2, as DVC reads it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline import plugins
from pipeline.errors import UserError

FILE = Path("params.yaml")


class Strict(BaseModel):
    """Unknown keys and wrong types are errors; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Split(Strict):
    """Shares of the groups that go to val and test; the rest is train. Used where the format gives no split."""

    val: float = Field(0.2, gt=0, lt=0.5)
    test: float = Field(0.2, gt=0, lt=0.5)


class Dataset(Strict):
    """A dataset: a format, and where its raw files lie (under data/raw/; embedded formats need no path)."""

    format: str
    path: str | None = None
    options: dict[str, Any] = {}
    max_side: int = Field(1024, ge=8)
    split: Split = Split()
    seed: int = 0
    on_bad: Literal["error", "skip"] = "error"


Transforms = list[dict[str, dict[str, Any]]]


class Staged(Strict):
    """What augment stores ahead of training: balanced classes, and copies of each train image."""

    balance: bool = False
    copies: int = Field(0, ge=0)
    transforms: Transforms = []


class Policy(Strict):
    """An augmentation policy: transforms applied while training, and what is staged before."""

    online: Transforms = []
    staged: Staged = Staged()


class Job(Strict):
    """One architecture on one task on one dataset, and how it is trained."""

    task: str
    architecture: str
    dataset: str
    augmentation: str | None = None
    core: bool = False
    options: dict[str, Any] = {}
    loss: dict[str, Any] = {}
    size: int = Field(32, ge=1)
    channels: Literal[1, 3] = 3
    seed: int = Field(0, ge=0)
    epochs: int = Field(10, ge=0)
    batch: int = Field(64, ge=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.05, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "cosine", "step", "poly"] = "cosine"
    warmup: float = Field(0.0, ge=0)
    milestones: list[float] = []
    gamma: float = Field(0.1, gt=0, le=1)
    power: float = Field(0.9, gt=0)
    clip: float | None = Field(None, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)
    patience: int | None = Field(None, ge=1)
    precision: Literal["auto", "float32"] = "auto"
    workers: int | Literal["auto"] = 1
    loader_workers: int = Field(0, ge=0)

    @property
    def policy(self) -> str:
        """The name of the augmentation policy; `none` where the job names none."""
        return self.augmentation or "none"


#: Job settings that do not decide the result, so that they are no part of a fingerprint
UNDECISIVE = frozenset({"core", "workers", "loader_workers"})


class Train(Strict):
    """How jobs are run: what a failed job does to the others, tries a job, lanes, and a cluster's shared path."""

    on_failed_job: Literal["continue", "stop"] = "continue"
    attempts: int = Field(3, ge=1)
    lanes: int | Literal["auto"] = "auto"
    storage: str | None = None
    keep_gb: float = Field(20.0, gt=0)


class Evaluate(Strict):
    """Bootstrap resamples behind each 95 % interval, and the number of example pictures a job."""

    resamples: int = Field(1000, ge=100)
    pictures: int = Field(12, ge=0)


class Params(Strict):
    """All of params.yaml."""

    roster: Literal["core", "all"] | list[str] = "core"
    datasets: dict[str, Dataset]
    augmentation: dict[str, Policy] = {}
    jobs: dict[str, Job]
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    def selected(self) -> dict[str, Job]:
        """The roster's jobs, in the order of params.yaml."""
        if self.roster == "all":
            return dict(self.jobs)
        if self.roster == "core":
            return {name: job for name, job in self.jobs.items() if job.core}
        return {name: job for name, job in self.jobs.items() if name in self.roster}

    def policy(self, name: str) -> Policy:
        """A named policy; `none` changes nothing and needs no entry."""
        return self.augmentation.get(name) or Policy()


def read(path: Path = FILE) -> Params:
    """Read and check params.yaml; one UserError lists every fault with its place and remedy."""
    try:
        value = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Run from the project's root.") from error
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML. {' '.join(str(error).split())}") from error
    try:
        params = Params.model_validate(value)
    except ValidationError as error:
        faults = [_fault(item) for item in error.errors()]
    else:
        faults = list(_cross_check(params))
    if faults:
        raise UserError("\n".join(f"{path}: {fault}" for fault in faults))
    return params


def _fault(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        owner = _owner(error["loc"])
        return f"{place}: {plugins.unknown('setting', str(error['loc'][-1]), owner.model_fields)}"
    if error["type"] == "missing":
        return f"{place}: missing. Add it."
    return f"{place}: {error['msg']} (found {error['input']!r})."


def _owner(place: tuple[Any, ...]) -> type[Strict]:
    """The model that the key at `place` was meant for."""
    sections: dict[str, type[Strict]] = {
        "datasets": Dataset,
        "augmentation": Policy,
        "jobs": Job,
        "train": Train,
        "evaluate": Evaluate,
    }
    if len(place) == 1:
        return Params
    inner: dict[Any, type[Strict]] = {"split": Split, "staged": Staged}
    return next((inner[part] for part in place[2:-1] if part in inner), sections[place[0]])


def _cross_check(params: Params) -> Iterator[str]:
    if isinstance(params.roster, list):
        for name in params.roster:
            if name not in params.jobs:
                yield f"roster: {plugins.unknown('job', name, params.jobs)}"
    elif not params.selected():
        yield "roster: core selects no job. Give a job `core: true`, or set roster to all or a list of jobs."
    for name, dataset in params.datasets.items():
        yield from _check_dataset(f"datasets.{name}", dataset)
    for name, policy in params.augmentation.items():
        for part, transforms in (("online", policy.online), ("staged.transforms", policy.staged.transforms)):
            for number, transform in enumerate(transforms):
                yield from _check_transform(f"augmentation.{name}.{part}.{number}", transform)
    for name, job in params.jobs.items():
        yield from _check_job(f"jobs.{name}", job, params)


def _check_name(name: str) -> Iterator[str]:
    last = name.rsplit(".", 1)[-1]
    if not last.replace("-", "").replace("_", "").isalnum():
        yield f"{name}: names hold letters, digits, '-' and '_' only, because they become folders. Rename it."


def _check_plugin(place: str, kind: str, name: str, function: str, given: dict[str, Any]) -> Iterator[str]:
    try:
        known = plugins.options(kind, name, function)
    except UserError as error:
        yield f"{place}: {error}"
        return
    for option in given:
        if option not in (known or []):
            yield f"{place}: {plugins.unknown('option', option, known or [])}"


def _check_dataset(place: str, dataset: Dataset) -> Iterator[str]:
    yield from _check_name(place)
    yield from _check_plugin(f"{place}.format", "prepare.formats", dataset.format, "read", dataset.options)
    if dataset.path is not None:
        path = Path(dataset.path)
        if path.is_absolute() or ".." in path.parts or path.parts[:2] != ("data", "raw"):
            yield f"{place}.path: {dataset.path!r} is not under data/raw/. Move the folder there and `dvc add` it."


def _check_transform(place: str, transform: dict[str, dict[str, Any]]) -> Iterator[str]:
    if len(transform) != 1:
        yield f"{place}: one transform an entry, as in `- shift: {{limit: 0.1}}`; found {len(transform)}."
        return
    ((name, options),) = transform.items()
    yield from _check_plugin(place, "augment.transforms", name, "build", options)


def _check_job(place: str, job: Job, params: Params) -> Iterator[str]:
    yield from _check_name(place)
    if job.dataset not in params.datasets:
        yield f"{place}.dataset: {plugins.unknown('dataset', job.dataset, params.datasets)}"
    if job.policy != "none" and job.policy not in params.augmentation:
        yield f"{place}.augmentation: {plugins.unknown('augmentation', job.policy, params.augmentation)}"
    yield from _check_plugin(f"{place}.task", "tasks", job.task, "learner", job.loss)
    yield from _check_plugin(f"{place}.architecture", "models", job.architecture, "build", job.options)
    if job.architecture in plugins.names("models"):
        tasks = plugins.constant("models", job.architecture, "TASKS") or ()
        if job.task not in tasks:
            yield f"{place}.task: {job.architecture} does {', '.join(tasks)}, not {job.task}. Change one of the two."
    if job.schedule == "step" and not job.milestones:
        yield f"{place}.milestones: schedule step needs epochs at which lr falls, as in `milestones: [6, 9]`."
    if job.workers != "auto" and job.workers < 1:
        yield f"{place}.workers: {job.workers} is less than 1. Give a number of processes, or auto."
