"""params.yaml as typed, frozen values: read and checked completely before any work starts.

Every fault is listed with its file and field, and a wrong name with a similar one. The YAML is 1.2, as in DVC.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, NonNegativeInt, PositiveInt, ValidationError

from pipeline import params_checks, params_files, params_form, params_old, plugins, pretrained_weights, store, studies
from pipeline.errors import UserError

FILE = params_files.FILE
#: the names that were asked for in place of the roster's, which flows/choose.py writes
CHOSEN = "reports/chosen.json"
#: job names outside the selection whose models are up to date, which train writes
KEPT = "models/kept.json"


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
    max_side: int | None = Field(None, ge=8)
    bits: Annotated[int, Field(ge=9, le=32)] | Literal["range"] | None = None
    first_page: bool = False
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
    """Weights to start from: another job's, a file's, or published ones by torchvision's or timm's name."""

    job: str | None = None
    file: str | None = None
    weights: str | None = None


class Job(Strict):
    """One architecture on one task on one dataset, and how it is trained."""

    task: str
    architecture: str
    dataset: str
    augmentation: str | None = None
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
    fit: Literal["stretch", "letterbox", "crop"] = "stretch"
    channels: Literal[1, 3] = 3
    seed: int = Field(0, ge=0)
    epochs: int = Field(10, ge=0)
    batch: int = Field(64, ge=1)
    accumulate: PositiveInt | Literal["auto"] = "auto"
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
    compile: bool | Literal["auto"] = False
    workers: PositiveInt | Literal["auto"] = 1
    loader_workers: NonNegativeInt | Literal["auto"] = "auto"

    @property
    def policy(self) -> str:
        """The name of the augmentation policy; `none` where the job names none."""
        return self.augmentation or "none"

    @property
    def weights(self) -> str | None:
        """torchvision's or timm's name of the published weights to start from, where these are asked for."""
        return self.pretrained.weights if self.pretrained else None

    @property
    def undecisive(self) -> frozenset[str]:
        """The settings that are no part of this job's fingerprint."""
        return UNDECISIVE | {name for name in LATER if getattr(self, name) == type(self).model_fields[name].default}

    @property
    def sources(self) -> dict[str, str]:
        """Jobs that must be done before this one, by what they are to it."""
        named = {"pretrained": getattr(self.pretrained, "job", None), "extractor": self.extractor}
        return {role: name for role, name in named.items() if name and name not in pretrained_weights.EXTRACTORS}


#: Job settings that do not decide the result, so that they are no part of a fingerprint
UNDECISIVE = frozenset({"workers", "loader_workers", "compile"})
#: settings that came later: no part of a fingerprint at their default, so that no earlier job becomes stale
LATER = frozenset({"fit", "accumulate"})


class Train(Strict):
    """How jobs are run; storage: a path that all nodes share · stuck_minutes: after which a silent process is ended."""

    on_failed_job: Literal["continue", "stop"] = "continue"
    attempts: int = Field(3, ge=1)
    worker_groups: PositiveInt | Literal["auto"] = "auto"
    storage: str | None = None
    keep_gb: float = Field(20.0, gt=0)
    stuck_minutes: float = Field(5.0, gt=0)


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
    """All of params.yaml and params/; the studies' jobs are among `jobs`, and the files of params/ are `sets`.

    roster: what to run: names of jobs, data sets, studies and sets; or `all`, which is all jobs but those of studies.
    """

    roster: str | list[str] = "all"
    sets: dict[str, list[str]] = {}
    datasets: dict[str, Dataset]
    augmentation: dict[str, Policy] = {}
    jobs: dict[str, Job]
    studies: dict[str, Study] = {}
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    #: jobs outside the selection that have up-to-date results; not a setting
    kept: tuple[str, ...] = Field((), exclude=True)

    @property
    def roster_words(self) -> list[str]:
        """The roster as a list, also where it is one word."""
        return [self.roster] if isinstance(self.roster, str) else self.roster

    def selected(self) -> dict[str, Job]:
        """The roster's jobs and those that they start from, in the order of params.yaml; those of studies last."""
        names, waiting = set[str](), list(self.resolve(self.roster_words))
        while waiting:
            name = waiting.pop()
            if name in self.jobs and name not in names:
                names.add(name)
                waiting.extend(self.jobs[name].sources.values())
        return {name: job for name, job in self.jobs.items() if name in names}

    def with_results(self) -> dict[str, Job]:
        """The selected jobs, and those outside the selection that are kept, in the order of params.yaml."""
        names = {*self.selected(), *self.kept}
        return {name: job for name, job in self.jobs.items() if name in names}

    def studies_of(self, jobs: Iterable[str]) -> dict[str, Study]:
        """The studies that any of the jobs is of."""
        names = {studies.study_of(job) for job in jobs}
        return {name: study for name, study in self.studies.items() if name in names}

    def study(self, job: str) -> Study | None:
        """The study that a job is of."""
        return self.studies.get(studies.study_of(job) or "")

    def resolve(self, words: Iterable[str], above: tuple[str, ...] = ()) -> Iterator[str]:
        """The names of jobs that words of a roster stand for; unknown words, and a set within itself, are left out."""
        for word in words:
            if word in self.sets and word not in above:
                yield from self.resolve(self.sets[word], (*above, word))
            for name, job in self.jobs.items():
                study = studies.study_of(name)
                if word in (name, study) or (study is None and word in (job.dataset, studies.ALL)):
                    yield name

    def words(self) -> list[str]:
        """All that a roster may name."""
        own = [name for name in self.jobs if studies.study_of(name) is None]
        return [*own, *self.datasets, *self.sets, *self.studies, studies.ALL]

    def choose(self, words: Iterable[str]) -> "Params":
        """A copy with these words as its roster; UserError for an unknown one, and if they name no job."""
        roster = list(words)
        for word in roster:
            if word not in self.words() and word not in self.jobs:
                raise UserError(plugins.unknown("job, data set, study or set of jobs", word, self.words()))
        chosen = self.model_copy(update={"roster": roster})
        if not chosen.selected():
            raise UserError(f"{' '.join(roster)}: names no job. Choose among: {', '.join(self.words())}.")
        return chosen

    def policy(self, name: str) -> Policy:
        """A named policy; `none` changes nothing and needs no entry."""
        return self.augmentation.get(name) or Policy()


def read(path: Path = FILE, *, empty: bool = False, folder: Path | None = None) -> Params:
    """Read and check params.yaml and params/; one UserError lists every fault.

    Args:
        path: params.yaml.
        empty: a file without a job is no fault.
        folder: params/, if it is not beside the file.
    """
    files = params_files.read(path, folder or path.parent / params_files.FOLDER)
    value = studies.expanded(files.value)
    if isinstance(value.get("sets", {}), dict):
        value = {**value, "sets": {**files.sets, **value.get("sets", {})}}
    try:
        with plugins.listed_once():
            params = Params.model_validate(value)
            faults = list(params_checks.all_faults(params, value, empty=empty))
    except ValidationError as error:
        faults = params_form.all_faults(Params, value, error.errors())
    if faults or files.faults:
        if signs := params_old.signs(files.written):
            raise UserError(f"{path}: {params_old.describe(signs)}")
        if emptied := files.emptied():
            raise UserError(f"{path}: {emptied}")
        lines = [*files.faults, *(f"{files.locate(where)}: {text}" for where, text in faults)]
        raise UserError("\n".join(dict.fromkeys(lines)))
    return params


def read_chosen(root: Path) -> Params:
    """The params of a run: what was chosen in place of the roster, and which other jobs have results."""
    params = read(root / FILE)
    if words := store.read_json(root / CHOSEN, {}).get("jobs"):
        params = params.choose(words)
    return with_kept(params, root)


def with_kept(params: Params, root: Path) -> Params:
    """A copy that knows the jobs outside the selection whose models the train stage kept."""
    kept = tuple(name for name in store.read_json(root / KEPT, []) if name in params.jobs)
    return params.model_copy(update={"kept": kept})
