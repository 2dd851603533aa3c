"""The results of a study: the scores of its variants over all seeds, and whether its claims hold."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipeline.bootstrap import Estimate, Resampled, over_seeds
from pipeline.metric_names import renamed, renamed_scores
from pipeline.params import Params, Study
from pipeline.scores import UNBOUNDED, Bounds, bounds
from pipeline.store import read_json
from pipeline.studies import Claim, claim

#: outcomes of a claim
HELD, OPPOSITE, UNDECIDED = "held", "did not hold", "undecided"
#: measures that are counted exactly, so that they have no interval
COUNTED = ("parameters", "multiply_adds", "receptive_field", "activation_bytes")


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, its outcome, and a reason for each pair of variants that it compares."""

    claim: str
    outcome: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class StudyResults:
    """The outputs of earlier stages for one study; `metrics`, `resampled`, `counts` and `gradients` by job."""

    name: str
    study: Study
    task: str
    failed: dict[str, str]
    metrics: dict[str, dict[str, Any]]
    resampled: dict[str, dict[str, Resampled]]
    counts: dict[str, dict[str, Any]]
    gradients: dict[str, dict[str, Any]]

    def job(self, variant: str, seed: int) -> str:
        """The name of a variant's job."""
        return f"{self.name}.{variant}.{seed}"

    @property
    def jobs(self) -> list[str]:
        """The names of all jobs, variant by variant."""
        return [self.job(variant, seed) for variant in self.study.variants for seed in self.study.seeds]

    @property
    def primary(self) -> str:
        """The name of the primary metric; empty if no job is measured."""
        return next((str(scores["primary"]) for scores in self.metrics.values()), "")

    @property
    def measures(self) -> list[str]:
        """The columns of the table: parameters, the primary metric (also on changed images) and what is claimed."""
        claimed = [measure for parsed in self.claims if (measure := self._measure(parsed))]
        under = [f"{self.primary} under {name}" for name in self.study.under]
        return list(dict.fromkeys(["parameters", self.primary, *under, *claimed]))

    @cached_property
    def claims(self) -> list[Claim]:
        """The study's claims, parsed."""
        return [claim(text) for text in self.study.claims]

    def _measure(self, parsed: Claim) -> str:
        return parsed.measure or self.primary

    def values(self, variant: str, measure: str) -> tuple[Resampled, Resampled] | None:
        """A measure of one variant: S values, one per seed, and S×N resamples; None if any job lacks it."""
        values, resampled = [], []
        for job in (self.job(variant, seed) for seed in self.study.seeds):
            counted = measure in COUNTED
            value = (self.counts if counted else self.metrics).get(job, {}).get(measure)
            if not isinstance(value, int | float):
                return None
            values.append(float(value))
            resampled.append(np.full(1, float(value)) if counted else self.resampled[job][measure])
        return np.array(values), np.array(resampled)

    def estimate(self, variant: str, measure: str) -> Estimate | None:
        """A measure's mean over seeds with its interval."""
        values = self.values(variant, measure)
        return None if values is None else over_seeds(*values, self._bounds(measure))

    def _bounds(self, measure: str) -> Bounds:
        return UNBOUNDED if measure in COUNTED else bounds(self.task, measure)

    def judge_claims(self) -> list[JudgedClaim]:
        """Judge each claim: it held if all its pairs held; it did not hold if any pair is clearly the opposite."""
        return [self._judge(text, parsed) for text, parsed in zip(self.study.claims, self.claims, strict=True)]

    def _judge(self, text: str, parsed: Claim) -> JudgedClaim:
        pairs = [self._judge_pair(*pair, self._measure(parsed)) for pair in parsed.pairs]
        outcomes = {outcome for outcome, _ in pairs}
        outcome = OPPOSITE if OPPOSITE in outcomes else UNDECIDED if UNDECIDED in outcomes else HELD
        return JudgedClaim(text, outcome, tuple(reason for _, reason in pairs))

    def _judge_pair(self, left: str, sign: str, right: str, measure: str) -> tuple[str, str]:
        """A pair's outcome by the interval of its difference on the same test images, and the reason in words."""
        left_values, right_values = self.values(left, measure), self.values(right, measure)
        if left_values is None or right_values is None:
            return UNDECIDED, f"not every job of {left} and {right} has {measure or 'a score'}"
        low, high = self._bounds(measure)
        limits = UNBOUNDED if low is None or high is None else (low - high, high - low)
        difference = over_seeds(left_values[0] - right_values[0], left_values[1] - right_values[1], limits)
        held = {">": difference.low > 0, "<": difference.high < 0, "=": difference.low == difference.high == 0}[sign]
        undecided = difference.low <= 0 <= difference.high and difference.low != difference.high
        outcome = HELD if held else UNDECIDED if undecided else OPPOSITE
        return outcome, _reason(left, right, measure, difference, undecided)


def _reason(left: str, right: str, measure: str, difference: Estimate, undecided: bool) -> str:
    """`deep − flat in top1: +0.021, between +0.004 and +0.038`"""
    template = "+,.0f" if measure in COUNTED else "+.3f"
    value, low, high = (
        format(number, template).replace("-", "−") for number in (difference.value, difference.low, difference.high)
    )
    spread = "" if difference.low == difference.high else f", between {low} and {high}"
    remark = "; the interval contains 0" if undecided else ""
    return f"{left} − {right} in {measure}: {value}{spread}{remark}"


def read(root: Path, params: Params) -> list[StudyResults]:
    """Read the outputs of all jobs of those studies that have a job among the results."""
    reasons = read_json(root / "models/failed.json", {})
    counts = read_json(root / "reports/parameters.json", {})
    results = []
    for name, study in params.studies_of(params.with_results()).items():
        jobs = {job: settings for job, settings in params.jobs.items() if params.study(job) is study}
        measured = [job for job in jobs if job not in reasons and (root / "metrics" / f"{job}.json").is_file()]
        folders = {job: root / "evaluations" / job for job in measured}
        counted = {job: counts.get(settings.architecture, {}).get("jobs", {}) for job, settings in jobs.items()}
        gradients = {job: read_json(folder / "gradients.json") for job, folder in folders.items()}
        results.append(
            StudyResults(
                name=name,
                study=study,
                task=next(iter(jobs.values())).task,
                failed={job: str(reasons[job].get("reason", "")) for job in jobs if job in reasons},
                metrics={job: renamed_scores(read_json(root / "metrics" / f"{job}.json")) for job in measured},
                resampled={job: _read_resampled(folder / "draws.parquet") for job, folder in folders.items()},
                counts={job: by_job.get(job, {}) for job, by_job in counted.items()},
                gradients={job: norms for job, norms in gradients.items() if norms},
            )
        )
    return results


def _read_resampled(path: Path) -> dict[str, Resampled]:
    """Each metric's value in every resample of the test images."""
    table = pq.read_table(path)
    return {renamed(name): table[name].to_numpy() for name in table.column_names}
