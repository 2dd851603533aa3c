"""Training on Ray: its processes form worker groups, and each group trains one job after the other.

The processes are started once per run, because their imports take seconds. An error in a group of one process fails
the job alone; in a larger group it ends all processes, and Ray starts them again to resume.
"""

import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pipeline import cluster, disk, preflight, store
from pipeline.errors import UserError
from pipeline.params import Train
from pipeline.train import reads, view
from pipeline.train.job_state import JobSpec, JobState, claim, held

#: what `_next` gives while all remaining jobs wait for a job in training, and seconds until it is asked again
WAIT, WAIT_S = "wait", 0.5
ENVIRONMENT = {
    **cluster.ENVIRONMENT,
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
}


def run(job_specs: Sequence[JobSpec], settings: Train, root: Path, times: dict[str, float]) -> None:
    """Train all jobs; each job's state says how it ended. Adds `ray_start_s` and `ray_s` to `times`."""
    os.environ.update(ENVIRONMENT)
    cluster.configure()
    started = time.monotonic()
    with _cluster(root) as (cpus, gpus):
        times["ray_start_s"] = time.monotonic() - started
        widths = {job_spec.fingerprint: width(job_spec, cpus, gpus) for job_spec in job_specs}
        world = _world(list(widths.values()), settings, cpus, gpus)
        _fit(job_specs, widths, world, settings, root, use_gpu=gpus > 0)
        times["ray_s"] = time.monotonic() - started


def width(job_spec: JobSpec, cpus: int, gpus: int) -> int:
    """The number of processes that train a job together; `auto` is all GPUs, or one process without a GPU."""
    wanted = job_spec.job.workers
    if wanted == "auto":
        return max(1, gpus)
    available = gpus or cpus
    if wanted > available:
        what = "GPUs" if gpus else "CPUs"
        raise UserError(
            f"params.yaml: jobs.{job_spec.name}.workers: {wanted} processes, but Ray has {available} {what}. Lower it."
        )
    return wanted


def _world(widths: Sequence[int], settings: Train, cpus: int, gpus: int) -> int:
    """The number of processes to start: for the largest worker group, and for `train.worker_groups` groups of one."""
    available = gpus or cpus
    groups = available if settings.worker_groups == "auto" else settings.worker_groups
    return min(available, max(max(widths), min(groups, sum(widths))))


@contextmanager
def _cluster(root: Path) -> Iterator[tuple[int, int]]:
    """Join the cluster at RAY_ADDRESS, or start one for this run; yields its numbers of CPUs and GPUs."""
    preflight.check(root, (preflight.ray,))
    import ray

    os.environ.setdefault("PYTHONPATH", str(root))
    address = os.environ.get("RAY_ADDRESS", "local")
    local: dict[str, Any] = {}
    variables = {**ENVIRONMENT, "PYTHONPATH": str(root)}
    if address != "local":  # else the actor that cleans up after a killed run may look in another cluster
        variables["RAY_ADDRESS"] = address
    else:  # a local one listens on the loopback only
        local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    with preflight.short_temp_folder() if local else nullcontext() as folder:
        if folder is not None:
            local["_temp_dir"] = variables["TMPDIR"] = folder
        environment = {"env_vars": variables}
        try:
            with cluster.starting():
                ray.init(address=address, log_to_driver=False, logging_level="ERROR", runtime_env=environment, **local)
        except ConnectionError as error:
            remedy = "Start a cluster there, or unset RAY_ADDRESS to run a local Ray."
            raise UserError(f"RAY_ADDRESS={address}: Ray can't join this cluster ({error}). {remedy}") from error
        cluster.silence(ray._private.worker)
        with cluster.end_together(ray.shutdown):
            resources = ray.cluster_resources()
            yield int(resources.get("CPU", 1)), int(resources.get("GPU", 0))


def storage_folder(settings: Train, root: Path) -> Path:
    """Where Ray Train keeps a folder per run: the shared path of a cluster, else below `.work/`."""
    return Path(settings.storage) if settings.storage else root / ".work/ray"


def _fit(
    job_specs: Sequence[JobSpec], widths: dict[str, int], world: int, settings: Train, root: Path, *, use_gpu: bool
) -> None:
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.backend import Backend
    from ray.train.torch import TorchConfig, TorchTrainer

    class NoProcessGroup(TorchConfig):
        """Ray without its own torch process group, which listens on all addresses (see group.py)."""

        backend_cls = Backend

    storage = storage_folder(settings, root)
    storage.mkdir(parents=True, exist_ok=True)
    config = {"job_specs": list(job_specs), "widths": widths, "settings": settings}
    with store.temporary(storage / "run") as run_folder:
        trainer = TorchTrainer(
            _work,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=world, use_gpu=use_gpu, resources_per_worker={"CPU": 1}),
            torch_config=NoProcessGroup(),
            run_config=RunConfig(
                name=run_folder.name,
                storage_path=str(storage),
                failure_config=FailureConfig(max_failures=settings.attempts * len(job_specs)),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # the job states say which jobs are not done; this adds the cause
            for job_spec in job_specs:
                state = JobState.of(job_spec)
                if state.read()["state"] in ("waiting", "running"):
                    reason = str(disk.disk_error(error) or " ".join(str(error).split())[:500])
                    state.note(reason=state.read().get("reason") or reason)


def _work(config: dict[str, Any]) -> None:
    """What every worker process runs: join the process group, then train."""
    import torch
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero
    from ray.train.torch import get_device
    from ray.util import get_node_ip_address

    from pipeline.train import group
    from pipeline.train.ranks import COLLECTIVE_TIMEOUT

    device = str(get_device())
    if device == "cpu":
        torch.set_num_threads(1)
    context = get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    if max(config["widths"].values()) > 1:
        backend = "gloo" if device == "cpu" else "nccl"
        address = get_node_ip_address()
        group.join(rank, world, address, broadcast_from_rank_zero, backend=backend, timeout=COLLECTIVE_TIMEOUT)
    try:
        _rounds(**config, rank=rank, world=world, device=device)
    except Exception as error:
        if disk.disk_error(error) is None or max(config["widths"].values()) > 1:
            raise
        # The disk is full, so no state can be written and new processes would not help; the stage reports it.


def _rounds(
    job_specs: Sequence[JobSpec], widths: dict[str, int], settings: Train, *, rank: int, world: int, device: str = "cpu"
) -> None:
    """For each group size, form worker groups and train the jobs of that size."""
    from pipeline.train.ranks import form_worker_group

    sizes = sorted(set(widths.values()))
    groups = {each: form_worker_group(rank, world, each, device) for each in sizes}
    for each in sizes * len(sizes):  # repeated for jobs that start from those of another size
        ranks = groups[each]
        if ranks is not None:
            _train_all([job_spec for job_spec in job_specs if widths[job_spec.fingerprint] == each], ranks, settings)


def _train_all(job_specs: Sequence[JobSpec], ranks: Any, settings: Train) -> None:
    """Train jobs that no other worker group has taken, until none is left."""
    from pipeline.train import loop

    while True:
        ranks.barrier()  # before rank 0 takes a job: other ranks may still finish the last one
        lock, job_spec = _next(job_specs, settings) if ranks.leads else (None, None)
        job_spec = ranks.broadcast(job_spec)
        if job_spec is None:
            return
        if job_spec == WAIT:
            time.sleep(WAIT_S)
            continue
        state = JobState.of(job_spec)
        try:
            _check_reads(job_spec, ranks)
            if ranks.leads:
                view.make(job_spec)
            ranks.barrier()
            loop.train(job_spec, ranks)
            if ranks.leads:
                state.note(state="done", reason=None)
        except loop.JobFailedError as error:
            if ranks.leads:
                state.note(state="failed", final=True, reason=str(error))
        except Exception as error:
            if ranks.leads or isinstance(error, UserError):  # which may concern this rank only, such as a full disk
                _note_fault(state, error)
            if ranks.world > 1:
                raise
        finally:
            if lock is not None:
                lock.close()


def _note_fault(state: JobState, error: Exception) -> None:
    """Write why an attempt failed; no further attempt is made if a person must fix something first."""
    known_error = error if isinstance(error, UserError) else disk.disk_error(error)
    if known_error is not None:
        state.note(
            state="failed",
            final=not isinstance(known_error, disk.DiskError | store.StoreError),
            reason=str(known_error),
        )
    elif state.read()["state"] != "failed":
        reason = f"{type(error).__name__}: {error}"
        state.note(reason=reason[:2000], traceback=traceback.format_exc()[-8000:])


def _check_reads(job_spec: JobSpec, ranks: Any) -> None:
    """Fail a job on all ranks if any of them reads other data, code or weights than the job spec was made from."""
    from pipeline.train.loop import JobFailedError

    differences = [text for text in ranks.gather(reads.differences(job_spec)) if text is not None]
    if differences:
        raise JobFailedError("; ".join(dict.fromkeys(differences)))


def _next(job_specs: Sequence[JobSpec], settings: Train) -> tuple[Any, JobSpec | str | None]:
    """The first job that can be trained, with its lock; WAIT if all remaining jobs wait for one in training."""
    waiting = None
    for job_spec in job_specs:
        states = [JobState.of(other).read()["state"] for other in job_specs]
        if "failed" in states and settings.on_failed_job == "stop":
            return None, None
        missing = job_spec.waits_for()
        if not missing:
            lock = claim(job_spec, settings.attempts)
            if lock is not None:
                return lock, job_spec
        elif any(held(work) for work in missing):
            waiting = WAIT
        else:
            _fail_with_source(job_spec, missing)
    return None, waiting


def _fail_with_source(job_spec: JobSpec, missing: Sequence[Path]) -> None:
    """Fail a job whose source failed; it is final if the source's failure is."""
    for source in (JobState(work / "state.json").read() for work in missing):
        if source["state"] == "failed" and JobState.of(job_spec).read()["state"] == "waiting":
            job_spec.work.mkdir(parents=True, exist_ok=True)
            reason = f"{source['name']}, from which this job starts, failed"
            JobState.of(job_spec).note(
                name=job_spec.name, state="failed", final=source.get("final", False), reason=reason
            )
