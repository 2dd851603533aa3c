"""The outputs of earlier stages, read once for the report. Sections read no other files, except pictures.

A missing output is absent from its mapping. Of a failed job, no numbers or pictures of an earlier version are shown.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import registered
from pipeline.metric_names import renamed_scores
from pipeline.params import Job, Params
from pipeline.report import _studies
from pipeline.sample import Facts, facts
from pipeline.scores import UNDEFINED, finite_or_none
from pipeline.shards import Shards, split
from pipeline.store import read_json
from pipeline.train import history

ROLES = ("champion", "challenger", "previous")
#: columns by which the rows of a classifier are recognised, whatever its task's name
CLASSIFIER_COLUMNS = ("id", "label", "prediction", "confidence")


@dataclass(frozen=True, slots=True)
class Score:
    """A metric on the test split; low and high bound its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Jobs that can be compared (one dataset, one task, one primary metric), best first."""

    dataset: str
    task: str
    primary: str
    higher_is_better: bool
    jobs: tuple[str, ...]

    @property
    def direction(self) -> str:
        """Which values are better, in words."""
        return "higher is better" if self.higher_is_better else "lower is better"


@dataclass(frozen=True, slots=True)
class Results:
    """Mappings by job, except `counts` (by architecture), `registered` (by model name) and `datasets`.

    Jobs of studies are in `studies` alone: they are many and are not ranked.
    """

    root: Path
    jobs: dict[str, Job]
    failed: dict[str, str]
    metrics: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    histories: dict[str, list[dict[str, float]]]
    speed: dict[str, dict[str, Any]]
    inspections: dict[str, dict[str, Any]]
    counts: dict[str, dict[str, Any]]
    registered: dict[str, dict[str, Any]]
    datasets: dict[str, Facts]
    studies: list[_studies.StudyResults]

    @property
    def succeeded(self) -> list[str]:
        """Selected jobs that did not fail, in the order of params.yaml."""
        return [job for job in self.jobs if job not in self.failed]

    def groups(self) -> dict[tuple[str, str], list[str]]:
        """Succeeded jobs by dataset and task."""
        groups: dict[tuple[str, str], list[str]] = {}
        for job in self.succeeded:
            groups.setdefault((self.jobs[job].dataset, self.jobs[job].task), []).append(job)
        return groups

    def rankings(self) -> list[Ranking]:
        """Every ranking of measured jobs; jobs without a finite primary score come last."""
        groups: dict[tuple[str, str, str, bool], list[str]] = {}
        for job, scores in self.metrics.items():
            key = (self.jobs[job].dataset, self.jobs[job].task, scores["primary"], scores["higher_is_better"])
            groups.setdefault(key, []).append(job)
        return [Ranking(*key, jobs=self._rank(jobs, *key[2:])) for key, jobs in groups.items()]

    def _rank(self, jobs: list[str], primary: str, higher_is_better: bool) -> tuple[str, ...]:
        def sort_key(job: str) -> float:
            score = self.score(job, primary)
            return math.inf if score is None else -score.value if higher_is_better else score.value

        return tuple(sorted(jobs, key=sort_key))

    def score(self, job: str, metric: str) -> Score | None:
        """A job's score on the test split; None if it is missing or not finite."""
        scores = self.metrics.get(job, {})
        value, low, high = (finite_or_none(scores.get(metric + end)) for end in ("", "_low", "_high"))
        return None if value is None else Score(value, low, high)

    def baseline(self, jobs: Iterable[str]) -> tuple[str, Score] | None:
        """What a trivial baseline reaches on the test images of these jobs, with its title."""
        for job in jobs:
            if entry := read_json(self.root / "evaluations" / job / "baseline.json"):
                return entry["title"], Score(entry["value"], entry["low"], entry["high"])
        return None

    def why_undefined(self, job: str, metric: str) -> str:
        """Why a measured job lacks a score: `no box in test`; empty if nothing says why."""
        reasons = self.metrics.get(job, {}).get(UNDEFINED) or {}
        return str(reasons.get(metric, ""))

    def latency(self, job: str) -> Score | None:
        """Milliseconds per image, with quartiles; None if they were not measured on a quiet machine."""
        speed = self.speed.get(job, {})
        value, low, high = (finite_or_none(speed.get(f"latency{end}_ms")) for end in ("", "_low", "_high"))
        return None if value is None or "processor" not in speed else Score(value, low, high)

    def machine(self, job: str) -> str:
        """Where the job's latency was measured: `2 threads of Intel Xeon`; empty if it was not."""
        speed = self.speed.get(job, {})
        if not self.latency(job):
            return ""
        on_cpu = speed.get("device", "cpu") == "cpu"
        return f"{speed.get('threads')} threads of {speed['processor']}" if on_cpu else str(speed["processor"])

    def mistakes(self, job: str) -> tuple[int, int] | None:
        """On how many test images a job is mistaken, and how many there are; None if it is not measured."""
        path = self.root / "evaluations" / job / "test.parquet"
        if not path.is_file() or "severity" not in pq.read_schema(path).names:
            return None
        severity = pq.read_table(path, columns=["severity"])["severity"].to_numpy()
        return int((severity > 0).sum()), len(severity)

    def metric_names(self, jobs: tuple[str, ...]) -> list[str]:
        """Metrics with an interval of any of the jobs, without those of single classes (`recall[3]`)."""
        names: dict[str, None] = {}
        for job in jobs:
            scores = self.metrics[job]
            names.update({name: None for name in scores if f"{name}_low" in scores and "[" not in name})
        return list(names)

    def job_counts(self, job: str) -> dict[str, Any]:
        """Parameters, multiply-adds and other counts of a job's network."""
        by_job = self.counts.get(self.jobs[job].architecture, {}).get("jobs", {})
        return dict(by_job.get(job) or {})

    def series(self, job: str, column: str) -> list[tuple[float, float]]:
        """(epoch, value) of one column of a job's history."""
        return [(row["epoch"], row[column]) for row in self.histories.get(job, []) if {"epoch", column} <= row.keys()]

    def classifier_rows(self, job: str) -> pa.Table | None:
        """A classifier's rows on the test split; None if the job is no classifier or is not measured."""
        path = self.root / "evaluations" / job / "test.parquet"
        if not path.is_file() or not set(CLASSIFIER_COLUMNS) <= set(pq.read_schema(path).names):
            return None
        return pq.read_table(path, columns=list(CLASSIFIER_COLUMNS))

    def stored_images(self, dataset: str, name: str) -> Shards:
        """The split of this name of a dataset, in the order of its rows; empty if it is not prepared."""
        return split(self.root / "data" / "prepared" / dataset, name)

    def roles(self, job: str) -> list[str]:
        """A job's roles in the registry; a version of other settings is marked as an earlier one."""
        entry = self.registered.get(f"{self.jobs[job].dataset}-{self.jobs[job].task}", {})
        roles = []
        for role in ("champion", "challenger"):
            holder = entry.get(role) or {}
            if holder.get("job") == job:
                current = holder.get("fingerprint") == self.models.get(job, holder).get("fingerprint")
                roles.append(role if current else f"{role}: an earlier version")
        return roles


def read(root: Path, params: Params) -> Results:
    """Read the outputs under `root` of the selected jobs, and of others that have up-to-date results."""
    selected = params.with_results()
    jobs = {name: job for name, job in selected.items() if params.study(name) is None}
    reasons = read_json(root / "models" / "failed.json", {})
    failed = {job: str(reasons[job].get("reason", "")) for job in jobs if job in reasons}
    succeeded = [job for job in jobs if job not in failed]
    reports = root / "reports"
    metrics = _read_existing({job: root / "metrics" / f"{job}.json" for job in succeeded})
    return Results(
        root=root,
        jobs=jobs,
        failed=failed,
        metrics={job: renamed_scores(scores) for job, scores in metrics.items()},
        models=_read_existing({job: root / "models" / job / "model.json" for job in succeeded}),
        histories={job: _read_history(root / "models" / job / "history.csv") for job in succeeded},
        speed={job: item for job, item in read_json(reports / "speed.json", {}).items() if job in succeeded},
        inspections=_read_existing({job: root / "evaluations" / job / "seeing.json" for job in succeeded}),
        counts=read_json(reports / "parameters.json", {}),
        registered=registered.entries(root),
        datasets=_read_datasets(root, selected),
        studies=_studies.read(root, params),
    )


def _read_existing(paths: dict[str, Path]) -> dict[str, dict[str, Any]]:
    contents = {job: read_json(path) for job, path in paths.items()}
    return {job: content for job, content in contents.items() if content is not None}


def _read_datasets(root: Path, jobs: dict[str, Job]) -> dict[str, Facts]:
    """dataset.json of every prepared dataset of the jobs, in the order of the jobs."""
    folders = {job.dataset: root / "data" / "prepared" / job.dataset for job in jobs.values()}
    return {name: facts(folder) for name, folder in folders.items() if (folder / "dataset.json").is_file()}


def _read_history(path: Path) -> list[dict[str, float]]:
    return history.read(path) if path.is_file() else []
