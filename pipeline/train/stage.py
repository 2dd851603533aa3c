"""The train stage: find the stale jobs, train them all at once, and put every job's model in its place.

A job is done when `models/<job>/` carries its fingerprint and verifies, or when `.work/jobs/<fingerprint>/`
does (it is put back from there); an unfinished one resumes; else it starts. Jobs may also be chosen: these train
into `.work/jobs/` alone, where a full run that has them in its roster finds them.
"""

import _thread
import dataclasses
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline import disk, plugins, pretrained_weights, registered, sample, store
from pipeline.errors import UserError
from pipeline.fingerprint import fingerprint
from pipeline.params import UNDECISIVE, Job, Params
from pipeline.train import checks, reads
from pipeline.train.follow import follow
from pipeline.train.job_state import JobSpec, JobState, reopen

log = logging.getLogger(__name__)

Watcher = Callable[[JobSpec, dict[str, Any]], None]


def job_specs(params: Params, root: Path) -> dict[str, JobSpec]:
    """Every selected job with its fingerprint; two of one fingerprint are an error that names both, except in studies.

    There a variant may be what another job is already; it is trained once.
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
    """The order of a job, after those of the jobs that it starts from."""
    if name in above:
        raise UserError(
            f"params.yaml: jobs.{name}: starts from itself by way of {' and '.join(above)}. Break the circle."
        )
    job = params.jobs[name]
    sources: dict[str, JobSpec] = {}
    for role, other in job.sources.items():
        if other not in params.selected():
            raise UserError(f"params.yaml: jobs.{name}.{role}: job {other} is not in the roster. Add it to the roster.")
        sources[role] = _resolve(other, params, root, made, (*above, name))
    if name not in made:
        made[name] = job_spec(name, job, params, root, sources)
    return made[name]


def job_spec(name: str, job: Job, params: Params, root: Path, sources: dict[str, JobSpec] | None = None) -> JobSpec:
    """One job, resolved; `sources` are the orders of the jobs that it starts from, by role."""
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
    modules = [f"pipeline.models.{job.architecture}", f"pipeline.tasks.{job.task}", "pipeline.train.loop"]
    modules += [f"pipeline.augment.transforms.{next(iter(entry))}" for entry in policy.online]
    modules += [f"pipeline.models.{value}" for value in job.options.values() if value in plugins.names("models")]
    paths, marks = {role: source.model for role, source in sources.items()}, {}
    if job.pretrained is not None and job.pretrained.file is not None:
        paths["pretrained"] = checks.weights(name, root / job.pretrained.file)
        marks["pretrained"] = store.file_digest(paths["pretrained"])
    for role, published in _fetched(job).items():
        paths[role], marks[role] = pretrained_weights.path(published), pretrained_weights.digest(published)
    marks |= {role: source.fingerprint for role, source in sources.items()}
    undecisive = UNDECISIVE - {"workers"} if _workers_decide(job, facts) else UNDECISIVE
    mark = fingerprint(
        modules,
        job=job.model_dump(exclude=set(undecisive | {"dataset", "augmentation", "pretrained", "extractor"})),
        sources=marks,
        online=policy.online,
        dataset=store.content_digest(prepared),
        staged=None if augmented is None else _staged_digest(augmented),
        derived={field: store.content_digest(folder) for field, folder in derived.items()},
    )
    work = root / ".work/jobs" / mark
    made = JobSpec(name, mark, job, policy.online, prepared, augmented, work, paths, derived, tuple(modules))
    return dataclasses.replace(made, reads=reads.digests(made) | marks)


def _workers_decide(job: Job, facts: sample.Facts) -> bool:
    """Whether the job's number of processes decides its result: it is set, and each process normalises its own part.

    `auto`, and a number that nobody wrote, leave a finished job as it is on a machine with another number.
    """
    if "workers" not in job.model_fields_set or job.workers == "auto":
        return False
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    from pipeline import checkpoint

    with torch.random.fork_rng(devices=[]):  # building draws initial weights
        network = checkpoint.build(checkpoint.describe(job, facts)).network
    synchronised = torch.nn.SyncBatchNorm
    return any(isinstance(part, _BatchNorm) and not isinstance(part, synchronised) for part in network.modules())


def _fetched(job: Job) -> dict[str, str]:
    """Names of the published files that the job starts from, by role."""
    extractor = job.extractor if job.extractor in pretrained_weights.EXTRACTORS else None
    return {role: name for role, name in (("pretrained", job.weights), ("extractor", extractor)) if name is not None}


def _staged_digest(augmented: Path) -> str:
    """Digest of what training reads of a staged folder; its pictures are for people."""
    files = store.manifest(augmented)["files"]
    return store.digest({name: entry for name, entry in files.items() if not name.endswith(".png")})


def run(params: Params, root: Path, watcher: Watcher | None = None) -> dict[str, float]:
    """Bring `models/` up to date; returns the seconds that Ray and the training took.

    Succeeds if any job ended well; those that did not are in `models/failed.json`.
    """
    wanted = job_specs(params, root)
    models = root / "models"
    times: dict[str, float] = {}
    stale = [item for name, item in wanted.items() if not _in_place(models / name, item)]
    _lay_out_sources(wanted, models)
    _check(stale)
    for item in stale:
        reopen(item)
    if stale:
        log.info(f"train: {len(stale)} of {len(wanted)} jobs to train: {', '.join(item.name for item in stale)}")
        once = {item.fingerprint: item for item in reversed(stale)}
        times = _train([item for item in stale if once[item.fingerprint] is item], params, root, watcher)
    else:
        log.info(f"train: nothing to do, {len(wanted)} jobs are up to date")
    failed = {item.name: _failure(item) for item in stale if not _in_place(models / item.name, item)}
    for name in store.keep_only(models, set(wanted) - set(failed) | _champions(root, set(wanted))):
        log.info(f"train: {name} is no longer in models/")
    store.write_json(models / "failed.json", failed)
    kept = {item.fingerprint for item in wanted.values()} | set(registered.champions(root))
    store.bound(root / ".work/jobs", int(params.train.keep_gb * 1e9), kept)
    for name, entry in failed.items():
        log.error(f"train: {name} failed: {entry['reason']}")
    if failed and len(failed) == len(wanted):
        raise UserError("train: no job ended well; the reasons are above and in models/failed.json.")
    return times


def _champions(root: Path, wanted: set[str]) -> set[str]:
    """Jobs out of the roster whose models are champions, after these were put into models/ where they were not."""
    kept = set()
    for mark, name in registered.champions(root).items():
        found = None if name in wanted else registered.folder(root, name, mark)
        if found is not None:
            kept.add(name)
            if found != root / "models" / name:
                store.copy(found, root / "models" / name)
            log.info(f"train: {name} is not in the roster, and stays in models/ as champion")
    return kept


def _check(stale: list[JobSpec]) -> None:
    """What can be known before any of the jobs begins: that published weights are here, and learners can be built."""
    from pipeline.train import trial  # brings torch

    faults = []
    for item in stale:
        try:
            for published in _fetched(item.job).values():
                pretrained_weights.fetch(published)
            trial.build(item.job, sample.facts(item.prepared))
        except UserError as error:
            faults.append(f"params.yaml: jobs.{item.name}.{error}")
    if faults:
        raise UserError("\n".join(faults))


def run_chosen(params: Params, root: Path, anew: Sequence[str], watcher: Watcher | None = None) -> dict[str, float]:
    """Train the selected jobs into `.work/jobs/` alone, those in `anew` though it was done before.

    UserError naming the jobs that did not end well.
    """
    wanted = job_specs(params, root)
    models = root / "models"
    _lay_out_sources(wanted, models)
    for name in anew:
        shutil.rmtree(wanted[name].work, ignore_errors=True)
    places = {name: (models / name, item.model) for name, item in wanted.items()}
    done = {name for name, item in wanted.items() if any(store.holds(path, item.fingerprint) for path in places[name])}
    stale = [item for name, item in wanted.items() if name in anew or name not in done]
    _check(stale)
    log.info(
        f"train: {len(stale)} of {len(wanted)} chosen jobs to train: {', '.join(item.name for item in stale) or '-'}"
    )
    for item in stale:
        reopen(item)
    times = _train(stale, params, root, watcher) if stale else {}
    failed = [item for item in stale if not store.holds(item.model, item.fingerprint)]
    if failed:
        raise UserError("\n".join(f"train: {item.name} failed: {_failure(item)['reason']}" for item in failed))
    for name in anew:
        if store.holds(models / name, wanted[name].fingerprint):
            store.copy(wanted[name].model, models / name)
    return times


def _in_place(target: Path, item: JobSpec) -> bool:
    """Whether the job's model is at `target`, after putting it there from earlier work if that has it."""
    if store.holds(target, item.fingerprint):
        return True
    if not store.holds(item.model, item.fingerprint):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    store.copy(item.model, target)
    return True


def _lay_out_sources(wanted: dict[str, JobSpec], models: Path) -> None:
    """Put finished models that other jobs start from where the orders expect them, also where they were pulled."""
    needed = {path for item in wanted.values() for path in item.sources.values()}
    for name, item in wanted.items():
        if item.model in needed and not item.model.exists() and store.holds(models / name, item.fingerprint):
            item.work.mkdir(parents=True, exist_ok=True)
            store.copy(models / name, item.model)


def _train(stale: list[JobSpec], params: Params, root: Path, watcher: Watcher | None) -> dict[str, float]:
    from pipeline.train import ray_train

    times: dict[str, float] = {}
    ended = threading.Event()

    def followed() -> None:
        try:
            follow(stale, ended, watcher)
        except BrokenPipeError:  # nobody reads what is said, so nobody wants the rest
            _thread.interrupt_main()

    follower = threading.Thread(target=followed, daemon=True)
    follower.start()
    try:
        ray_train.run(stale, params.train, root, times)
    finally:
        ended.set()
        follower.join(timeout=60)
    entries = [JobState.of(item).read() for item in stale]
    begun = [entry for entry in entries if "began" in entry]
    if begun:
        times["train_wall_s"] = max(entry["updated"] for entry in begun) - min(entry["began"] for entry in begun)
    return times


def _failure(item: JobSpec) -> dict[str, Any]:
    """Why a job has no model, and whether trying again may help."""
    entry = JobState.of(item).read()
    reason = entry.get("reason")
    if not reason and (left := disk.free(item.work)) < disk.LEAST_BYTES:  # not even the reason could be written there
        reason = f"{item.work}: the disk is full ({left:,} bytes free). Make room, {disk.RESUMES}"
    reason = reason or f"not trained (its state is {entry['state']}); run again to resume"
    return {"reason": reason, "again": not entry.get("final", False)}
