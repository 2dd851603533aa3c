"""What made jobs stale: the settings, data, definitions and libraries in which they differ from their trained models.

A model's `record.json` holds all that its fingerprint is the digest of; the same is computed for the job of today.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline import definitions, fingerprint, plugins, store
from pipeline.augment import stage as augment_stage
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.prepare import stage as prepare_stage
from pipeline.train import record
from pipeline.train import stage as train_stage
from pipeline.train.job_state import JobSpec, JobState

#: fresh: up to date · stale: it has changed since · new: no model · unknown: an earlier version trained it, without a
#: record · waiting: data that an earlier stage makes is missing
State = Literal["fresh", "stale", "new", "unknown", "waiting"]
#: what a part of the fingerprint is called
KINDS = {
    "job": "setting",
    "code": "definition",
    "libraries": "library",
    "derived": "derived field",
    "online": "augmentation",
    "staged": "staged copies",
    "sources": "source",
}
MISSING = "missing"


@dataclass(frozen=True)
class Reason:
    """One difference: what kind of thing, its name, and its values before and now; `missing` where there is none."""

    kind: str
    name: str
    before: Any
    now: Any


@dataclass(frozen=True)
class Explanation:
    """How a job stands and why.

    notes: what will be known only after an earlier stage has run, and what else is worth knowing · in_effect: device,
    precision and number of processes of the training, which decide nothing.
    """

    state: State
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    in_effect: dict[str, Any] | None = None


def explain(params: Params, root: Path, jobs: Sequence[str]) -> dict[str, Explanation]:
    """How each of these jobs stands; UserError for a wrong name."""
    wrong = [name for name in jobs if name not in params.jobs]
    if wrong:
        raise UserError(f"jobs: {plugins.unknown('job', wrong[0], params.jobs)}")
    return {name: _explain(params, root, name) for name in jobs}


def _explain(params: Params, root: Path, name: str) -> Explanation:
    notes = tuple(_changing_data(params, root, name))
    try:
        job_spec = train_stage.job_specs(params.choose([name]), root)[name]
    except store.StoreError as error:
        stored = root / "models" / name
        without_record = (stored / store.MANIFEST).exists() and record.read(stored) is None
        return (
            Explanation("unknown", notes=notes)
            if without_record
            else Explanation("waiting", notes=(*notes, str(error)))
        )
    folder = _last_model(root, job_spec)
    if folder is None:
        return Explanation("new", notes=(*notes, *_begun(job_spec)))
    trained = record.read(folder) or {}
    in_effect = trained.get("in_effect")
    if store.holds(folder, job_spec.fingerprint):
        return Explanation("fresh", notes=notes, in_effect=in_effect)
    if store.manifest(folder)["fingerprint"] == job_spec.fingerprint:
        damage = Reason("file", folder.relative_to(root).as_posix(), "complete", "damaged")
        return Explanation("stale", (damage,), notes, in_effect)
    if "decided" not in trained:
        return Explanation("unknown", notes=notes)
    reasons = tuple(differences(trained["decided"], job_spec.decided))
    return Explanation("stale", reasons, notes, in_effect)


def _last_model(root: Path, job_spec: JobSpec) -> Path | None:
    """The job's model: of today's fingerprint, else the one in models/, else the last in `.work/jobs/`."""
    stored = root / "models" / job_spec.name
    others = (path.parent for path in (root / ".work/jobs").glob("*/state.json"))
    own = [path for path in others if JobState(path / "state.json").read().get("name") == job_spec.name]
    own.sort(key=lambda path: float(JobState(path / "state.json").read().get("updated", 0)), reverse=True)
    candidates = [job_spec.model, stored, *(path / "model" for path in own)]
    complete = [path for path in candidates if (path / store.MANIFEST).exists()]
    same = (path for path in complete if store.manifest(path)["fingerprint"] == job_spec.fingerprint)
    return next(same, complete[0] if complete else None)


def _begun(job_spec: JobSpec) -> Iterator[str]:
    """How far an interrupted training came."""
    state = JobState.of(job_spec).read()
    if state["attempts"]:
        yield f"its training is {state['state']}, at epoch {state.get('epoch', 0):g} of {job_spec.job.epochs}"


def _changing_data(params: Params, root: Path, name: str) -> Iterator[str]:
    """Data of a job that prepare or augment will make anew: only then it is known whether its content changes."""
    job = params.jobs[name]
    dataset, prepared = params.datasets[job.dataset], root / "data/prepared" / job.dataset
    try:
        if _made_for(prepared) != prepare_stage.compute_fingerprint(dataset, root):
            yield f"dataset {job.dataset}: its settings, raw files or reader changed; prepare makes it anew"
            return
    except UserError as error:
        yield f"dataset {job.dataset}: {error}"
        return
    wanted = {
        field: augment_stage.derived_fingerprint(field, dataset.derived.get(field, {}), prepared)
        for field in plugins.derived_fields(job.architecture, job.loss)
    }
    if job.augmentation is not None:
        wanted[job.augmentation] = augment_stage.policy_fingerprint(params.policy(job.augmentation), prepared)
    for part, mark in wanted.items():
        if _made_for(root / "data/augmented" / f"{job.dataset}-{part}") != mark:
            yield f"{part} of {job.dataset}: its settings, images or code changed; augment makes it anew"


def _made_for(folder: Path) -> str | None:
    """The fingerprint of a stored folder; None if there is no such folder."""
    return str(store.manifest(folder)["fingerprint"]) if (folder / store.MANIFEST).exists() else None


def differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Reason]:
    """All differences between what decided a model and what decides it now, settings first."""
    parts = ["job", *sorted((before.keys() | now.keys()) - {"job", "code"}), "code"]
    for part in parts:
        first, second = before.get(part), now.get(part)
        for name, pair in _changes(first, second):
            kind = KINDS.get(part, part)
            yield Reason(kind, _at_file(name) if part == "code" else name or part, *pair)


def _changes(before: Any, now: Any, prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The values that differ, by their names within dictionaries."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        if before != now:
            yield prefix, (before, now)
        return
    for name in sorted(before.keys() | now.keys()):
        first, second = before.get(name, MISSING), now.get(name, MISSING)
        yield from _changes(first, second, f"{prefix}.{name}" if prefix else name)


def _at_file(definition: str) -> str:
    """`pipeline/train/loop.py:Trainer` of the definition `pipeline.train.loop:Trainer`."""
    module, _, inner = definition.partition(":")
    path = definitions.path_of(fingerprint.folders(), module)
    parts = module.split(".")
    inside = path is not None and path.name == "__init__.py"
    return f"{'/'.join(parts)}{'/__init__' if inside else ''}.py:{inner}"
