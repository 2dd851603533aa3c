"""Studies: a question answered by jobs that differ in one setting, each trained with several seeds.

A study of params.yaml is expanded to ordinary jobs `<study>.<variant>.<seed>` before any check, so that every stage
handles them like all others. No other name has a dot.
"""

import re
from dataclasses import dataclass
from typing import Any

from pipeline.metric_names import renamed

SEEDS = (0, 1, 2)
#: settings that belong to what another setting names, and so fall with it
OWNERS = {"options": "architecture", "loss": "task"}
#: what a roster calls all jobs but those of studies
ALL = "all"


def study_of(job: str) -> str | None:
    """The study that a job is of; None for the jobs of params.yaml's own section."""
    study, dot, _ = job.partition(".")
    return study if dot else None


def expanded(value: dict[str, Any]) -> dict[str, Any]:
    """params.yaml's sections with the studies' jobs among `jobs`; what is not of the right form is passed over."""
    studies, jobs = value.get("studies"), value.get("jobs")
    if not isinstance(studies, dict) or not isinstance(jobs, dict):
        return value
    written = dict(jobs)
    for name, study in studies.items():
        if isinstance(study, dict):
            written |= _jobs(name, study)
    return {**value, "jobs": written}


def _jobs(name: str, study: dict[str, Any]) -> dict[str, Any]:
    base, variants, seeds = study.get("base"), study.get("variants"), study.get("seeds", SEEDS)
    if not isinstance(base, dict) or not isinstance(variants, dict) or not isinstance(seeds, list | tuple):
        return {}
    return {
        f"{name}.{variant}.{seed}": {**_same_seed(merged(base, change), seed), "seed": seed}
        for variant, change in variants.items()
        if isinstance(change, dict)
        for seed in seeds
    }


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A job's settings after a change: options and loss setting by setting, unless their owner changes."""
    settings = {name: item for name, item in base.items() if OWNERS.get(name) not in change}
    for name, item in change.items():
        before = settings.get(name)
        if name in OWNERS and isinstance(item, dict) and isinstance(before, dict):
            settings[name] = {**before, **item}
        else:
            settings[name] = item
    return settings


def _same_seed(settings: dict[str, Any], seed: Any) -> dict[str, Any]:
    """`pretrained: {job: <study>.<variant>}` means that variant's job of the same seed."""
    pretrained = settings.get("pretrained")
    if not isinstance(pretrained, dict) or str(pretrained.get("job")).count(".") != 1:
        return settings
    return {**settings, "pretrained": {**pretrained, "job": f"{pretrained['job']}.{seed}"}}


def place_in_file(path: str, value: dict[str, Any]) -> str:
    """The path in the file of a fault in a study's job: in the variant, or in the base."""
    match = re.match(r"jobs\.([^.]+)\.([^.]+)\.\d+\.?(.*)", path)
    if match is None or match[1] not in (value.get("studies") or {}):
        return path
    study, variant, setting = match.groups()
    own = value["studies"][study]["variants"][variant]
    part = f"variants.{variant}" if setting.split(".")[0] in own else "base"
    return f"studies.{study}.{part}.{setting}".rstrip(".")


@dataclass(frozen=True)
class Claim:
    """Variants in the order that is claimed, with a sign between neighbours; a measure, or the primary score."""

    variants: tuple[str, ...]
    signs: tuple[str, ...]
    measure: str | None

    @property
    def pairs(self) -> list[tuple[str, str, str]]:
        """(variant, sign, variant) of neighbours."""
        return list(zip(self.variants, self.signs, self.variants[1:], strict=False))


def claim(text: str) -> Claim:
    """`a > b > c` or `a < b in parameters`, parsed; a claim without a sign has one variant and no pair.

    A measure may have its old name.
    """
    order, _, measure = text.partition(" in ")
    parts = [part.strip() for part in re.split(r"([<>=])", order)]
    return Claim(tuple(parts[::2]), tuple(parts[1::2]), renamed(measure.strip()) or None)
