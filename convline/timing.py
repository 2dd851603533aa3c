"""How long suggested jobs take on this machine, and how they are shortened to fit the minutes that a person has."""

import dataclasses
import math
from pathlib import Path

from convline.suggest import Suggestion
from pipeline import processes
from pipeline.params import Job
from pipeline.train import estimate

#: epochs below which a job is not shortened
FEWEST_EPOCHS = 3


def measure(suggestion: Suggestion, prepared: Path) -> dict[str, float]:
    """Expected seconds of each job, by a few of its steps on one of the processes that train side by side."""
    threads = max(1, processes.cores() // _groups(suggestion))
    expected = {}
    for name, settings in suggestion.jobs.items():
        job = Job.model_validate(settings)
        online = suggestion.policies.get(job.policy, {}).get("online", [])
        expected[name] = estimate.seconds(job, online, prepared, threads)
    return expected


def whole(suggestion: Suggestion, expected: dict[str, float]) -> float:
    """Seconds of all jobs, as many side by side as there are cores."""
    if not expected:
        return 0.0
    return max(*expected.values(), sum(expected.values()) / _groups(suggestion))


def shorten(suggestion: Suggestion, expected: dict[str, float], minutes: float) -> tuple[Suggestion, dict[str, float]]:
    """The same jobs with fewer epochs, if all of them would take longer than these minutes."""
    factor = 60 * minutes / max(whole(suggestion, expected), 1e-9)
    if factor >= 1:
        return suggestion, expected
    jobs, shorter = {}, {}
    for name, settings in suggestion.jobs.items():
        before = settings["epochs"]
        epochs = min(before, max(FEWEST_EPOCHS, math.floor(before * factor)))
        patience = {"patience": max(2, epochs // 3)} if "patience" in settings else {}
        jobs[name] = {**settings, "epochs": epochs, **patience}
        shorter[name] = expected[name] * (epochs / before if before else 1)
    return dataclasses.replace(suggestion, jobs=jobs), shorter


def with_reasons(suggestion: Suggestion, expected: dict[str, float]) -> Suggestion:
    """The expected time beside the reason for each job."""
    reasons = {
        name: f"{reason}; about {estimate.words(expected[name])} on this machine"
        for name, reason in suggestion.reasons.items()
    }
    return dataclasses.replace(suggestion, reasons=reasons)


def _groups(suggestion: Suggestion) -> int:
    return max(1, min(processes.cores(), len(suggestion.jobs)))
