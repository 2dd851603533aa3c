"""The train stage: find the stale jobs, train them in one Ray run, and store every model in models/.

A job is done if `models/<job>/` has its fingerprint and is undamaged, or if `.work/jobs/<fingerprint>/model` is (it is
copied from there); an interrupted job resumes; else it starts. Models of other jobs of params.yaml stay in models/ as
long as they are up to date, and later stages show them too.
"""

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline import disk, plugins, pretrained_weights, processes, registered, roots, sample, store
from pipeline.errors import UserError
from pipeline.fingerprint import inputs
from pipeline.params import KEPT, Job, Params, Train
from pipeline.train import checks, estimate, features, ray_train, reads, view
from pipeline.train.follow import Follower, Watcher
from pipeline.train.job_state import JobSpec, JobState, reopen
from pipeline.train.worker_groups import After

log = logging.getLogger(__name__)

#: settings that count by the digest of what they name
NOT_BY_VALUE = frozenset({"dataset", "augmentation", "pretrained", "extractor"})
#: settings that count only where a person set them
OF_THE_MACHINE = frozenset({"precision", "device", "workers"})


def job_specs(params: Params, root: Path) -> dict[str, JobSpec]:
    """The specs of all selected jobs; UserError if two jobs have the same fingerprint, except in studies.

    A variant of a study may equal another job; it is trained once.
    """
    made: dict[str, JobSpec] = {}
    for name in params.selected():
        _resolve(name, params, root, made, ())
    owners: dict[str, str] = {}
    for name, item in made.items():
        if params.study(name) is not None:
            continue
        other = owners.setdefault(item.fingerprint, name)
        if other != name:
            raise UserError(f"params.yaml: jobs.{other} and jobs.{name} are the same job. Change one or remove it.")
    return made


def _resolve(name: str, params: Params, root: Path, made: dict[str, JobSpec], above: tuple[str, ...]) -> JobSpec:
    """The spec of a job, after the specs of the jobs that it starts from."""
    if name in above:
        raise UserError(
            f"params.yaml: jobs.{name}: starts from itself through {' and '.join(above)}. Break the circle."
        )
    job = params.jobs[name]
    sources: dict[str, JobSpec] = {}
    for role, other in job.sources.items():
        sources[role] = _resolve(other, params, root, made, (*above, name))
    if name not in made:
        made[name] = job_spec(name, job, params, root, sources)
    return made[name]


def job_spec(name: str, job: Job, params: Params, root: Path, sources: dict[str, JobSpec] | None = None) -> JobSpec:
    """The spec of a job; `sources` are the specs of the jobs that it starts from, by role."""
    sources = sources or {}
    prepared = root / "data/prepared" / job.dataset
    facts = sample.facts(prepared)
    checks.check_needs(name, job, facts)
    augmented = None if job.augmentation is None else root / "data/augmented" / f"{job.dataset}-{job.policy}"
    derived = {
        field: root / "data/augmented" / f"{job.dataset}-{field}"
        for field in plugins.derived_fields(job.architecture, job.loss)
    }
    policy = params.policy(job.policy)
    paths, source_digests = {role: source.model for role, source in sources.items()}, {}
    if job.pretrained is not None and job.pretrained.file is not None:
        paths["pretrained"] = checks.weights(name, root / job.pretrained.file)
        source_digests["pretrained"] = store.file_digest(paths["pretrained"])
    for role, published in _published_names(job).items():
        paths[role], source_digests[role] = pretrained_weights.path(published), _digest(name, published, root)
    source_digests |= {role: source.fingerprint for role, source in sources.items()}
    code_roots = roots.training(job, policy.online)
    decided = inputs(
        code_roots,
        job=job.model_dump(exclude=set(job.undecisive | NOT_BY_VALUE | OF_THE_MACHINE))
        | _set_for_the_machine(job, facts),
        sources=source_digests,
        online=policy.online,
        dataset=store.content_digest(prepared),
        staged=None if augmented is None else _staged_digest(augmented),
        derived={field: store.content_digest(folder) for field, folder in derived.items()},
    )
    mark = store.digest(decided)
    work = root / ".work/jobs" / mark
    made = JobSpec(name, mark, job, policy.online, prepared, augmented, work, paths, derived, code_roots, decided)
    views = {} if derived or not job.epochs else view.paths(job, policy.online, prepared, augmented, root)
    limit = int(params.train.keep_gb * 1e9)
    return dataclasses.replace(made, reads=reads.digests(made) | source_digests, views=views, view_bytes=limit)


def _set_for_the_machine(job: Job, facts: sample.Facts) -> dict[str, Any]:
    """The settings of the machine that decide the result: those that a person set to more than `auto`.

    With `auto` or the default, a finished job stays valid on a machine of other devices. The number of processes
    decides only where batch statistics are not synchronised.
    """
    values = {name: getattr(job, name) for name in OF_THE_MACHINE & job.model_fields_set}
    set_values = {name: value for name, value in sorted(values.items()) if value not in (None, "auto")}
    if "workers" in set_values and not _has_batch_statistics(job, facts):
        del set_values["workers"]
    return set_values


def _has_batch_statistics(job: Job, facts: sample.Facts) -> bool:
    """Whether the network has batch normalisation that is not synchronised over processes."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    from pipeline import checkpoint

    with torch.random.fork_rng(devices=[]):  # building initialises weights at random
        network = checkpoint.build(checkpoint.describe(job, facts)).network
    synchronised = torch.nn.SyncBatchNorm
    return any(isinstance(part, _BatchNorm) and not isinstance(part, synchronised) for part in network.modules())


def _published_names(job: Job) -> dict[str, str]:
    """Names of the published weights that the job starts from, by role."""
    extractor = job.extractor if job.extractor in pretrained_weights.EXTRACTORS else None
    return {role: name for role, name in (("pretrained", job.weights), ("extractor", extractor)) if name is not None}


def _digest(name: str, published: str, root: Path) -> str:
    """The digest of published weights; the first job that starts from some of timm's fetches them here."""
    try:
        return pretrained_weights.digest(published, root)
    except UserError as error:
        raise UserError(f"params.yaml: jobs.{name}.{error}") from error


def _staged_digest(augmented: Path) -> str:
    """Digest of the files that training reads of a staged folder, which are all but its pictures."""
    files = store.manifest(augmented)["files"]
    return store.digest({name: entry for name, entry in files.items() if not name.endswith(".png")})


def run(params: Params, root: Path, watcher: Watcher | None = None, after: After | None = None) -> dict[str, float]:
    """Bring `models/` up to date; returns the seconds that Ray and the training took.

    after: evaluates each job when it is trained, by the process that trained it.

    Raises a UserError if all jobs failed; failed jobs are listed in `models/failed.json`.
    """
    wanted = job_specs(params, root)
    models = root / "models"
    store.sweep(ray_train.storage_folder(params.train, root))  # of a run that was killed when all jobs were done
    times: dict[str, float] = {}
    stale = [item for name, item in wanted.items() if not _restore(models / name, item)]
    _copy_sources(wanted, models)
    _check(stale, root)
    for item in stale:
        reopen(item)
    if stale:
        log.info(f"train: {len(stale)} of {len(wanted)} jobs to train: {', '.join(item.name for item in stale)}")
        once = {item.fingerprint: item for item in reversed(stale)}
        _share_cores(stale, wanted.values(), params.train)
        times = _train([item for item in stale if once[item.fingerprint] is item], params, root, watcher, after)
    else:
        log.info(f"train: nothing to do, {len(wanted)} jobs are up to date")
    failed = {item.name: _failure(item) for item in stale if not _restore(models / item.name, item)}
    others = _up_to_date(params, root, set(wanted))
    champions = _champions(root, {*wanted, *others})
    for name in store.keep_only(models, set(wanted) - set(failed) | set(others) | champions):
        log.info(f"train: {name} is no longer in models/: its settings or data changed, or params.yaml has it no more")
    store.write_json(models / "failed.json", failed)
    store.write_json(root / KEPT, sorted(others))
    kept = {item.fingerprint for item in [*wanted.values(), *others.values()]} | set(registered.champions(root))
    store.bound(root / ".work/jobs", int(params.train.keep_gb * 1e9), kept)
    view.free_up(root / view.FOLDER, int(params.train.keep_gb * 1e9))
    view.free_up(root / features.FOLDER, int(params.train.keep_gb * 1e9))
    for name, entry in failed.items():
        log.error(f"train: {name} failed: {entry['reason']}")
    if failed and len(failed) == len(wanted):
        raise UserError("train: all jobs failed; the reasons are above and in models/failed.json.")
    return times


def _up_to_date(params: Params, root: Path, wanted: set[str]) -> dict[str, JobSpec]:
    """The specs of other jobs of params.yaml whose models in models/ are up to date."""
    specs: dict[str, JobSpec] = {}
    for name in sorted(path.name for path in (root / "models").glob("*/")):
        if name not in wanted and name in params.jobs:
            with contextlib.suppress(UserError, store.StoreError, OSError):  # its data or a file of weights is missing
                job_spec = _resolve(name, params, root, {}, ())
                if store.holds(root / "models" / name, job_spec.fingerprint):
                    specs[name] = job_spec
    return specs


def _champions(root: Path, wanted: set[str]) -> set[str]:
    """Champions that are not up to date or not chosen, after copying their models into models/ where missing."""
    kept = set()
    for fingerprint, name in registered.champions(root).items():
        folder = None if name in wanted else registered.folder(root, name, fingerprint)
        if folder is not None:
            kept.add(name)
            if folder != root / "models" / name:
                store.copy(folder, root / "models" / name)
            log.info(f"train: {name} stays in models/ as champion, though it is not chosen or not up to date")
    return kept


def _check(stale: list[JobSpec], root: Path) -> None:
    """Check before training that published weights can be fetched and that every learner can be built."""
    from pipeline.train import trial  # brings torch

    faults = []
    for item in stale:
        try:
            for published in _published_names(item.job).values():
                pretrained_weights.fetch(published, root)
            trial.build(item.job, sample.facts(item.prepared))
        except UserError as error:
            faults.append(f"params.yaml: jobs.{item.name}.{error}")
    if faults:
        raise UserError("\n".join(faults))


def forget(params: Params, root: Path, names: Iterable[str]) -> None:
    """Remove the results of these jobs, so that the next run trains them again."""
    for name in names:
        with contextlib.suppress(UserError, store.StoreError, OSError):  # without its data a job has no results
            shutil.rmtree(_resolve(name, params, root, {}, ()).work, ignore_errors=True)
        shutil.rmtree(root / "models" / name, ignore_errors=True)


def _restore(target: Path, item: JobSpec) -> bool:
    """Whether the job's model is at `target`, after copying it from `.work/jobs/` if it is there."""
    if store.holds(target, item.fingerprint):
        return True
    if not store.holds(item.model, item.fingerprint):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    store.copy(item.model, target)
    return True


def _copy_sources(wanted: dict[str, JobSpec], models: Path) -> None:
    """Copy finished models that other jobs start from into their work folders, also after `dvc pull`."""
    needed = {path for item in wanted.values() for path in item.sources.values()}
    for name, item in wanted.items():
        if item.model in needed and not item.model.exists() and store.holds(models / name, item.fingerprint):
            item.work.mkdir(parents=True, exist_ok=True)
            store.copy(models / name, item.model)


def _train(
    stale: list[JobSpec], params: Params, root: Path, watcher: Watcher | None, after: After | None
) -> dict[str, float]:
    times: dict[str, float] = {}
    estimate.announce(root, [item.name for item in stale])
    ray_train.run(stale, params.train, root, times, Follower(stale, watcher), after)
    entries = [JobState.of(item).read() for item in stale]
    started = [entry for entry in entries if "began" in entry]
    ended = {
        item.name: entry["seconds"] for item, entry in zip(stale, entries, strict=True) if entry["state"] == "done"
    }
    estimate.compare(root, ended)
    if started:
        times["train_wall_s"] = max(entry["updated"] for entry in started) - min(entry["began"] for entry in started)
    return times


def _share_cores(stale: Iterable[JobSpec], wanted: Iterable[JobSpec], settings: Train) -> None:
    """Note the number of threads of each job that is to train on a CPU, unless an earlier run has begun with another.

    It follows from cores (or OMP_NUM_THREADS) and all chosen jobs, not from those left: a resumed run ends equal.
    """
    cores = processes.cores()
    widths = [1 if item.job.workers == "auto" else item.job.workers for item in wanted]
    most = int(os.environ.get("OMP_NUM_THREADS") or cores)
    threads = max(1, min(most, cores // ray_train.world(widths, settings, cores)))
    for item in stale:
        state = JobState.of(item)
        if "threads" not in state.read():
            state.note(threads=threads)


def _failure(item: JobSpec) -> dict[str, Any]:
    """Why a job has no model, and whether another run may succeed."""
    entry = JobState.of(item).read()
    reason = entry.get("reason")
    if not reason and (free_bytes := disk.free(item.work)) < disk.LEAST_BYTES:  # the reason could not be written there
        reason = f"{item.work}: the disk is full ({free_bytes:,} bytes free). Make room, {disk.RESUMES}"
    reason = reason or f"not trained (state: {entry['state']}); run again to resume"
    return {"reason": reason, "again": not entry.get("final", False)}
