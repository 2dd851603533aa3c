"""A study in numbers: what its variants scored over all seeds, and whether its claims held."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipeline.bootstrap import Draws, Estimate, over_seeds
from pipeline.params import Params, Study
from pipeline.store import read_json
from pipeline.studies import Claim, claim

#: verdicts, from best to worst known
HELD, OPPOSITE, UNDECIDED = "held", "did not hold", "undecided"
COUNTED = ("parameters", "multiply_adds", "receptive_field", "activation_bytes")


@dataclass(frozen=True)
class Verdict:
    """What became of a claim, and the numbers that decided it."""

    claim: str
    word: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """All that earlier stages left of one study; `metrics`, `draws`, `counts` and `gradients` by job."""

    name: str
    study: Study
    failed: dict[str, str]
    metrics: dict[str, dict[str, Any]]
    draws: dict[str, dict[str, Draws]]
    counts: dict[str, dict[str, Any]]
    gradients: dict[str, dict[str, Any]]

    def job(self, variant: str, seed: int) -> str:
        """A variant's job."""
        return f"{self.name}.{variant}.{seed}"

    @property
    def jobs(self) -> list[str]:
        """All jobs, variant by variant."""
        return [self.job(variant, seed) for variant in self.study.variants for seed in self.study.seeds]

    @property
    def primary(self) -> str:
        """The primary score's name; empty where nothing was measured."""
        return next((str(found["primary"]) for found in self.metrics.values()), "")

    @property
    def measures(self) -> list[str]:
        """What the table shows: the primary score, on changed images too, and whatever claims are about."""
        claimed = [found.measure for found in self.claims if found.measure]
        under = [f"{self.primary} under {name}" for name in self.study.under]
        return list(dict.fromkeys(["parameters", self.primary, *under, *claimed]))

    @cached_property
    def claims(self) -> list[Claim]:
        """The study's claims, read."""
        return [claim(text) for text in self.study.claims]

    def outcome(self, variant: str, measure: str) -> tuple[Draws, Draws] | None:
        """A measure of all seeds' jobs, S values and S×N resamples; None where any lacks it."""
        values, drawn = [], []
        for job in (self.job(variant, seed) for seed in self.study.seeds):
            counted = measure in COUNTED
            value = (self.counts if counted else self.metrics).get(job, {}).get(measure)
            if not isinstance(value, int | float):
                return None
            values.append(float(value))
            drawn.append(np.full(1, float(value)) if counted else self.draws[job][measure])
        return np.array(values), np.array(drawn)

    def estimate(self, variant: str, measure: str) -> Estimate | None:
        """A measure's mean over seeds with its interval."""
        found = self.outcome(variant, measure)
        return None if found is None else over_seeds(*found)

    def verdicts(self) -> list[Verdict]:
        """Each claim judged: held if every pair did, not if any pair is clearly the other way round."""
        return [self._verdict(text, found) for text, found in zip(self.study.claims, self.claims, strict=True)]

    def _verdict(self, text: str, found: Claim) -> Verdict:
        measure = found.measure or self.primary
        judged = [self._judged(*pair, measure) for pair in found.pairs]
        words = {word for word, _ in judged}
        word = OPPOSITE if OPPOSITE in words else UNDECIDED if UNDECIDED in words else HELD
        return Verdict(text, word, tuple(reason for _, reason in judged))

    def _judged(self, left: str, sign: str, right: str, measure: str) -> tuple[str, str]:
        """A pair's verdict by the interval of its difference on the same test images, and the reason in words."""
        one, other = self.outcome(left, measure), self.outcome(right, measure)
        if one is None or other is None:
            return UNDECIDED, f"not every job of {left} and {right} has {measure or 'a score'}"
        difference = over_seeds(one[0] - other[0], one[1] - other[1])
        held = {">": difference.low > 0, "<": difference.high < 0, "=": difference.low == difference.high == 0}[sign]
        open_ = difference.low <= 0 <= difference.high and difference.low != difference.high
        word = HELD if held else UNDECIDED if open_ else OPPOSITE
        return word, _reason(left, right, measure, difference, open_)


def _reason(left: str, right: str, measure: str, difference: Estimate, undecided: bool) -> str:
    """`deep − flat in top1: +0.021, between +0.004 and +0.038`"""
    form = "+,.0f" if measure in COUNTED else "+.3f"
    value, low, high = (
        format(number, form).replace("-", "−") for number in (difference.value, difference.low, difference.high)
    )
    spread = "" if difference.low == difference.high else f", between {low} and {high}"
    remark = ": the interval holds 0, so it may be either way" if undecided else ""
    return f"{left} − {right} in {measure}: {value}{spread}{remark}"


def read(root: Path, params: Params) -> list[Trial]:
    """The roster's studies with what was left of their jobs."""
    reasons = read_json(root / "models/failed.json", {})
    counts = read_json(root / "reports/parameters.json", {})
    trials = []
    for name, study in params.selected_studies().items():
        jobs = {job: settings for job, settings in params.jobs.items() if params.study(job) is study}
        measured = [job for job in jobs if job not in reasons and (root / "metrics" / f"{job}.json").is_file()]
        folders = {job: root / "evaluations" / job for job in measured}
        counted = {job: counts.get(settings.architecture, {}).get("jobs", {}) for job, settings in jobs.items()}
        norms = {job: read_json(folder / "gradients.json") for job, folder in folders.items()}
        trials.append(
            Trial(
                name=name,
                study=study,
                failed={job: str(reasons[job].get("reason", "")) for job in jobs if job in reasons},
                metrics={job: read_json(root / "metrics" / f"{job}.json") for job in measured},
                draws={job: _draws(folder / "draws.parquet") for job, folder in folders.items()},
                counts={job: found.get(job, {}) for job, found in counted.items()},
                gradients={job: found for job, found in norms.items() if found},
            )
        )
    return trials


def _draws(path: Path) -> dict[str, Draws]:
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}
