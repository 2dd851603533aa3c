"""All that earlier stages left, read once for the report: sections ask here and open no file but a picture.

Whatever is missing is simply absent from its mapping. A job that failed shows none of the numbers and pictures
of its earlier versions.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.params import Job, Params
from pipeline.report import _studies
from pipeline.sample import Facts, Shards, facts, split
from pipeline.store import read_json
from pipeline.train import history

ROLES = ("champion", "challenger", "previous")
#: what the rows of a classifier have, whatever its task is called
COLUMNS = ("id", "label", "prediction", "confidence")


@dataclass(frozen=True, slots=True)
class Score:
    """A metric on the test split with its 95 % interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Contest:
    """Jobs that can be compared: one dataset, one task, one primary metric; best first."""

    dataset: str
    task: str
    primary: str
    higher_is_better: bool
    jobs: tuple[str, ...]

    @property
    def better(self) -> str:
        """Which way is good, in words."""
        return "higher is better" if self.higher_is_better else "lower is better"


@dataclass(frozen=True, slots=True)
class Results:
    """Everything by job, except `counts` (by architecture), `registered` (by model name) and `datasets`.

    The studies' jobs are in `trials` alone: they are many, and compete with nobody outside.
    """

    root: Path
    jobs: dict[str, Job]
    failed: dict[str, str]
    metrics: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    histories: dict[str, list[dict[str, float]]]
    speed: dict[str, dict[str, Any]]
    seeing: dict[str, dict[str, Any]]
    counts: dict[str, dict[str, Any]]
    registered: dict[str, dict[str, Any]]
    datasets: dict[str, Facts]
    trials: list[_studies.Trial]

    @property
    def sound(self) -> list[str]:
        """Selected jobs that did not fail, in the order of params.yaml."""
        return [job for job in self.jobs if job not in self.failed]

    def groups(self) -> dict[tuple[str, str], list[str]]:
        """Sound jobs by dataset and task."""
        groups: dict[tuple[str, str], list[str]] = {}
        for job in self.sound:
            groups.setdefault((self.jobs[job].dataset, self.jobs[job].task), []).append(job)
        return groups

    def contests(self) -> list[Contest]:
        """Every ranking of measured jobs; a job without a finite primary score comes last."""
        groups: dict[tuple[str, str, str, bool], list[str]] = {}
        for job, found in self.metrics.items():
            key = (self.jobs[job].dataset, self.jobs[job].task, found["primary"], found["higher_is_better"])
            groups.setdefault(key, []).append(job)
        return [Contest(*key, jobs=self._ranked(jobs, *key[2:])) for key, jobs in groups.items()]

    def _ranked(self, jobs: list[str], primary: str, higher_is_better: bool) -> tuple[str, ...]:
        def rank(job: str) -> float:
            score = self.score(job, primary)
            return math.inf if score is None else -score.value if higher_is_better else score.value

        return tuple(sorted(jobs, key=rank))

    def score(self, job: str, metric: str) -> Score | None:
        """A job's score on test; None where it is missing or not finite."""
        found = self.metrics.get(job, {})
        value, low, high = (finite(found.get(metric + end)) for end in ("", "_low", "_high"))
        return None if value is None else Score(value, low, high)

    def metric_names(self, jobs: tuple[str, ...]) -> list[str]:
        """Metrics with an interval that any of the jobs has, without those of single classes (`recall[3]`)."""
        names: dict[str, None] = {}
        for job in jobs:
            found = self.metrics[job]
            names.update({name: None for name in found if f"{name}_low" in found and "[" not in name})
        return list(names)

    def counted(self, job: str) -> dict[str, Any]:
        """Parameters, multiply-adds and the like of a job's network."""
        found = self.counts.get(self.jobs[job].architecture, {}).get("jobs", {})
        return dict(found.get(job) or {})

    def series(self, job: str, column: str) -> list[tuple[float, float]]:
        """(epoch, value) of one column of a job's history."""
        return [(row["epoch"], row[column]) for row in self.histories.get(job, []) if {"epoch", column} <= row.keys()]

    def classified(self, job: str) -> pa.Table | None:
        """A classifier's rows on test; None of a job that does not classify, or was not measured."""
        path = self.root / "evaluations" / job / "test.parquet"
        if not path.is_file() or not set(COLUMNS) <= set(pq.read_schema(path).names):
            return None
        return pq.read_table(path, columns=list(COLUMNS))

    def test_images(self, dataset: str) -> Shards:
        """The test split of a dataset, in the order of the rows; empty where it is not prepared."""
        return split(self.root / "data" / "prepared" / dataset, "test")

    def roles(self, job: str) -> list[str]:
        """What the registry calls this job; says so where it means a version trained with other settings."""
        entry = self.registered.get(f"{self.jobs[job].dataset}-{self.jobs[job].task}", {})
        found = []
        for role in ("champion", "challenger"):
            holder = entry.get(role) or {}
            if holder.get("job") == job:
                same = holder.get("fingerprint") == self.models.get(job, holder).get("fingerprint")
                found.append(role if same else f"{role}: an earlier version")
        return found


def finite(value: Any) -> float | None:
    """A finite number as it is, anything else as None."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None


def read(root: Path, params: Params) -> Results:
    """Read what the stages left under `root` for the selected jobs."""
    selected = params.selected()
    jobs = {name: job for name, job in selected.items() if params.study(name) is None}
    reasons = read_json(root / "models" / "failed.json", {})
    failed = {job: str(reasons[job].get("reason", "")) for job in jobs if job in reasons}
    sound = [job for job in jobs if job not in failed]
    reports = root / "reports"
    return Results(
        root=root,
        jobs=jobs,
        failed=failed,
        metrics=_present({job: root / "metrics" / f"{job}.json" for job in sound}),
        models=_present({job: root / "models" / job / "model.json" for job in sound}),
        histories={job: _history(root / "models" / job / "history.csv") for job in sound},
        speed={job: item for job, item in read_json(reports / "speed.json", {}).items() if job in sound},
        seeing=_present({job: root / "evaluations" / job / "seeing.json" for job in sound}),
        counts=read_json(reports / "parameters.json", {}),
        registered=read_json(reports / "registered.json", {}),
        datasets={name: facts(path) for name, path in _prepared(root, selected) if (path / "dataset.json").is_file()},
        trials=_studies.read(root, params),
    )


def _present(paths: dict[str, Path]) -> dict[str, dict[str, Any]]:
    found = {job: read_json(path) for job, path in paths.items()}
    return {job: value for job, value in found.items() if value is not None}


def _prepared(root: Path, jobs: dict[str, Job]) -> list[tuple[str, Path]]:
    names = dict.fromkeys(job.dataset for job in jobs.values())
    return [(name, root / "data" / "prepared" / name) for name in names]


def _history(path: Path) -> list[dict[str, float]]:
    return history.read(path) if path.is_file() else []
