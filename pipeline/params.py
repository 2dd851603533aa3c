"""params.yaml as typed, frozen values: read and checked completely before any work starts.

Every fault is listed with its field, and a wrong name with a similar one. The YAML is 1.2, as in DVC.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveInt, ValidationError

from pipeline import params_checks, plugins, pretrained_weights, safe_yaml, studies
from pipeline.errors import UserError

FILE = Path("params.yaml")


class Strict(BaseModel):
    """Unknown keys and wrong types are errors; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Split(Strict):
    """Fractions of the groups for val and test; the rest is train. Used if the format gives no split."""

    val: float = Field(0.2, gt=0, lt=0.5)
    test: float = Field(0.2, gt=0, lt=0.5)


class Dataset(Strict):
    """A dataset: a format, and the path of its raw files (below data/raw/; embedded formats need none)."""

    format: str
    path: str | None = None
    options: dict[str, JsonValue] = {}
    derived: dict[str, dict[str, JsonValue]] = {}
    max_side: int = Field(1024, ge=8)
    split: Split = Split()
    seed: int = 0
    on_bad: Literal["error", "skip"] = "error"


Transforms = list[dict[str, dict[str, JsonValue]]]


class Staged(Strict):
    """What augment stores before training: balanced classes, and copies of each train image."""

    balance: bool = False
    copies: int = Field(0, ge=0)
    transforms: Transforms = []


class Policy(Strict):
    """An augmentation policy: transforms applied during training, and what is staged before."""

    online: Transforms = []
    staged: Staged = Staged()


class Pretrained(Strict):
    """Weights to start from: another job's, a file's, or published ones by torchvision's name; exactly one of them."""

    job: str | None = None
    file: str | None = None
    weights: str | None = None


class Job(Strict):
    """One architecture on one task on one dataset, and how it is trained."""

    task: str
    architecture: str
    dataset: str
    augmentation: str | None = None
    core: bool = False
    options: dict[str, JsonValue] = {}
    loss: dict[str, JsonValue] = {}
    pretrained: Pretrained | None = None
    extractor: str | None = None
    freeze: list[str] = []
    unfreeze: dict[str, PositiveInt] = {}
    layer_decay: float | None = Field(None, gt=0, le=1)
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    train_images: PositiveInt | None = None
    fraction: float | None = Field(None, gt=0, le=1)
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
    workers: PositiveInt | Literal["auto"] = 1
    loader_workers: int = Field(0, ge=0)

    @property
    def policy(self) -> str:
        """The name of the augmentation policy; `none` where the job names none."""
        return self.augmentation or "none"

    @property
    def weights(self) -> str | None:
        """torchvision's name of the published weights to start from, where these are asked for."""
        return self.pretrained.weights if self.pretrained else None

    @property
    def sources(self) -> dict[str, str]:
        """Jobs that must be done before this one, by what they are to it."""
        named = {"pretrained": getattr(self.pretrained, "job", None), "extractor": self.extractor}
        return {role: name for role, name in named.items() if name and name not in pretrained_weights.EXTRACTORS}


#: Job settings that do not decide the result, so that they are no part of a fingerprint
UNDECISIVE = frozenset({"core", "workers", "loader_workers"})


class Train(Strict):
    """How jobs are run; worker_groups: how many train side by side · storage: a path that all nodes share."""

    on_failed_job: Literal["continue", "stop"] = "continue"
    attempts: int = Field(3, ge=1)
    worker_groups: PositiveInt | Literal["auto"] = "auto"
    storage: str | None = None
    keep_gb: float = Field(20.0, gt=0)


class Evaluate(Strict):
    """resamples: for 95 % intervals · pictures: examples per job · detections: maximum per image and class."""

    resamples: int = Field(1000, ge=100)
    pictures: int = Field(12, ge=0)
    detections: int = Field(100, ge=1, le=1000)


class Study(Strict):
    """Variants of one job, each trained from every seed, and what is claimed of them.

    base: a job's settings · variants: the settings that each changes · claims: as `a > b` or `a < b in parameters` ·
    under: policies of `augmentation` by which test images are changed · gradients: their norms, layer by layer.
    """

    question: str
    paper: str
    claims: list[str] = Field(min_length=1)
    base: dict[str, JsonValue]
    variants: dict[str, dict[str, JsonValue]] = Field(min_length=2)
    seeds: list[int] = Field([*studies.SEEDS], min_length=2)
    under: list[str] = []
    gradients: bool = False


class Params(Strict):
    """All of params.yaml; the studies' jobs are among `jobs`."""

    roster: Literal["core", "all", "studies"] | list[str] = "core"
    datasets: dict[str, Dataset]
    augmentation: dict[str, Policy] = {}
    jobs: dict[str, Job]
    studies: dict[str, Study] = {}
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    def selected(self) -> dict[str, Job]:
        """The roster's jobs, in the order of params.yaml; those of studies last."""
        asked, selected = self._asked(), {}
        for name, job in self.jobs.items():
            study = studies.study_of(name)
            words = {"all", *(["core"] if job.core else [])} if study is None else {study, "studies"}
            if asked & {name, *words}:
                selected[name] = job
        return selected

    def selected_studies(self) -> dict[str, Study]:
        """The roster's studies; `all` is all jobs that are of none."""
        return {name: study for name, study in self.studies.items() if self._asked() & {name, "studies"}}

    def study(self, job: str) -> Study | None:
        """The study that a job is of."""
        return self.studies.get(studies.study_of(job) or "")

    def _asked(self) -> set[str]:
        return {self.roster} if isinstance(self.roster, str) else set(self.roster)

    def choose(self, names: Sequence[str]) -> "Params":
        """A copy whose roster has only these jobs, and those that they start from; UserError for a wrong name."""
        roster, waiting = list[str](), list(names)
        while waiting:
            name = waiting.pop()
            if name not in self.jobs:
                raise UserError(f"jobs: {plugins.unknown('job', name, self.jobs)}")
            if name not in roster:
                roster.append(name)
                waiting.extend(self.jobs[name].sources.values())
        return self.model_copy(update={"roster": roster})

    def policy(self, name: str) -> Policy:
        """A named policy; `none` changes nothing and needs no entry."""
        return self.augmentation.get(name) or Policy()


def read(path: Path = FILE, *, empty: bool = False) -> Params:
    """Read and check params.yaml; one UserError lists every fault. `empty`: that no job is selected is none."""
    try:
        value = safe_yaml.load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Run from the project's root.") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error}). Give a text file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML: no UTF-8 text. Save it as UTF-8.") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no sections. Give at least datasets and jobs.")
    value = studies.expanded({key: {} if part is None and key != "roster" else part for key, part in value.items()})
    try:
        params = Params.model_validate(value)
        faults = list(params_checks.all_faults(params, value, empty=empty))
    except ValidationError as error:
        faults = _faults(value, error.errors())
    if faults:
        lines = [f"{path}: {studies.place_in_file(where, value)}: {text}" for where, text in faults]
        raise UserError("\n".join(dict.fromkeys(lines)))
    return params


def _faults(value: dict[str, Any], errors: list[Any]) -> list[tuple[str, str]]:
    """All faults, each once: those of form, then those of content in entries without faults of form."""
    by_path, rest = dict[str, list[str]](), copy.deepcopy(value)
    for error in errors:
        path, text = _fault(value, error)
        by_path.setdefault(".".join(map(str, path)), []).append(text)
        _drop(rest, path)
    try:
        more = list(params_checks.faults(Params.model_validate(rest), value))
    except ValidationError:
        more = []
    faults = [(path, " Or: ".join(texts)) for path, texts in by_path.items()]
    return faults + [(path, text) for path, text in more if path not in by_path]


def _fault(value: Any, error: Any) -> tuple[tuple[Any, ...], str]:
    """The path of a fault of form in the file (without pydantic's names of union members), and its text."""
    if error["type"] == "missing":
        return error["loc"], "missing. Add it."
    path: list[Any] = []
    for part in error["loc"]:
        if not (part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)):
            break
        path.append(part)
        value = value[part]
    if error["type"] == "extra_forbidden":
        return tuple(path), plugins.unknown("setting", str(path[-1]), _owner(tuple(path)).model_fields)
    return tuple(path), f"{error['msg']} (found {error['input']!r})."


def _drop(rest: Any, path: tuple[Any, ...]) -> None:
    """Remove the entry at `path`: the list that contains it, or the entry that lacks it."""
    owner, key = rest, None
    for number, part in enumerate(path):
        if not isinstance(rest, dict):
            break
        if part not in rest:
            if number < len(path) - 1:  # gone already
                return
            break
        owner, key, rest = rest, part, rest[part]
    owner.pop(key, None)


def _owner(path: tuple[Any, ...]) -> type[Strict]:
    """The model to which the key at `path` belongs."""
    sections: dict[str, type[Strict]] = {
        "datasets": Dataset,
        "augmentation": Policy,
        "jobs": Job,
        "studies": Study,
        "train": Train,
        "evaluate": Evaluate,
    }
    if len(path) == 1:
        return Params
    inner: dict[Any, type[Strict]] = {"split": Split, "staged": Staged}
    return next((inner[part] for part in path[2:-1] if part in inner), sections[path[0]])
