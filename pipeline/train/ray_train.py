"""Ray's one place: a single worker group whose processes form lanes, each training job after job.

Starting processes costs seconds of imports, so they are started once. A lane of one process keeps its errors
to itself; in a wider lane an error ends the group, which Ray starts again and which resumes.
"""

import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pipeline import cluster, disk, store, surroundings
from pipeline.errors import UserError
from pipeline.params import Train
from pipeline.train import reads
from pipeline.train.job_state import JobSpec, JobState, claim, held

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
    """Train all jobs; each one's state says how it ended. `times` gains Ray's own seconds."""
    os.environ.update(ENVIRONMENT)
    cluster.tell()
    started = time.monotonic()
    with _cluster(root) as (cpus, gpus):
        times["ray_start_s"] = time.monotonic() - started
        widths = {job_spec.fingerprint: width(job_spec, cpus, gpus) for job_spec in job_specs}
        world = _world(list(widths.values()), settings, cpus, gpus)
        _fit(job_specs, widths, world, settings, root, use_gpu=gpus > 0)
        times["ray_s"] = time.monotonic() - started


def width(job_spec: JobSpec, cpus: int, gpus: int) -> int:
    """How many processes train a job together; `auto` is all GPUs, or one process where there is none."""
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
    """Processes of the group: room for the widest lane, and for as many single lanes as are useful."""
    available = gpus or cpus
    lanes = available if settings.lanes == "auto" else settings.lanes
    return min(available, max(max(widths), min(lanes, sum(widths))))


@contextmanager
def _cluster(root: Path) -> Iterator[tuple[int, int]]:
    """Join the cluster at RAY_ADDRESS, or start one for this run; gives CPUs and GPUs."""
    surroundings.check(root, (surroundings.ray,))
    import ray

    os.environ.setdefault("PYTHONPATH", str(root))
    address = os.environ.get("RAY_ADDRESS", "local")
    local: dict[str, Any] = {}
    variables = {**ENVIRONMENT, "PYTHONPATH": str(root)}
    if address != "local":  # else the actor that cleans up after a killed run may look for it at another cluster
        variables["RAY_ADDRESS"] = address
    else:  # of its own, on this machine's loopback alone
        local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    with surroundings.short_folder() if local else nullcontext() as folder:
        if folder is not None:
            local["_temp_dir"] = variables["TMPDIR"] = folder
        environment = {"env_vars": variables}
        try:
            with cluster.own_handler():
                ray.init(address=address, log_to_driver=False, logging_level="ERROR", runtime_env=environment, **local)
        except ConnectionError as error:
            remedy = "Start a cluster there; or unset RAY_ADDRESS, and the run starts a Ray of its own."
            raise UserError(f"RAY_ADDRESS={address}: Ray can't join it ({error}). {remedy}") from error
        try:
            resources = ray.cluster_resources()
            cluster.silence(ray._private.worker)
            with cluster.attended():
                yield int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        finally:
            ray.shutdown()


def _fit(
    job_specs: Sequence[JobSpec], widths: dict[str, int], world: int, settings: Train, root: Path, *, use_gpu: bool
) -> None:
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.backend import Backend
    from ray.train.torch import TorchConfig, TorchTrainer

    class OwnGroup(TorchConfig):
        """Torch without Ray's process group, which would listen on all addresses."""

        backend_cls = Backend

    storage = Path(settings.storage) if settings.storage else root / ".work" / "ray"
    storage.mkdir(parents=True, exist_ok=True)
    config = {"job_specs": list(job_specs), "widths": widths, "settings": settings}
    with store.temporary(storage / "run") as place:
        trainer = TorchTrainer(
            _work,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=world, use_gpu=use_gpu, resources_per_worker={"CPU": 1}),
            torch_config=OwnGroup(),
            run_config=RunConfig(
                name=place.name,
                storage_path=str(storage),
                failure_config=FailureConfig(max_failures=settings.attempts * len(job_specs)),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # the ledgers say which jobs are not done; this only adds the cause
            for job_spec in job_specs:
                state = JobState.of(job_spec)
                if state.read()["state"] in ("waiting", "running"):
                    reason = str(disk.refusal(error) or " ".join(str(error).split())[:500])
                    state.note(reason=state.read().get("reason") or reason)


def _work(config: dict[str, Any]) -> None:
    """In every worker: learn its place, then train."""
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
        own = get_node_ip_address()
        group.join(rank, world, own, broadcast_from_rank_zero, backend=backend, timeout=COLLECTIVE_TIMEOUT)
    try:
        _rounds(**config, rank=rank, world=world, device=device)
    except Exception as error:
        if disk.refusal(error) is None or max(config["widths"].values()) > 1:
            raise
        # Not even a state can be written: a new group of processes is of no use. The stage meets that disk too.


def _rounds(
    job_specs: Sequence[JobSpec], widths: dict[str, int], settings: Train, *, rank: int, world: int, device: str = "cpu"
) -> None:
    """For each lane width, form lanes and train the jobs of that width."""
    from pipeline.train.ranks import lane

    different = sorted(set(widths.values()))
    lanes = {each: lane(rank, world, each, device) for each in different}
    for each in different * len(different):  # again for jobs that start from those of another width
        ranks = lanes[each]
        if ranks is not None:
            _train_all([job_spec for job_spec in job_specs if widths[job_spec.fingerprint] == each], ranks, settings)


def _train_all(job_specs: Sequence[JobSpec], ranks: Any, settings: Train) -> None:
    """Train whatever no other lane has taken, until nothing is left to take."""
    from pipeline.train import loop

    while True:
        ranks.meet()  # before the leader takes a job: others may still wait for one that is taken
        lock, job_spec = _next(job_specs, settings) if ranks.leads else (None, None)
        job_spec = ranks.share(job_spec)
        if job_spec is None:
            return
        if job_spec == WAIT:
            time.sleep(WAIT_S)
            continue
        state = JobState.of(job_spec)
        try:
            _check_reads(job_spec, ranks)
            loop.train(job_spec, ranks)
            if ranks.leads:
                state.note(state="done", reason=None)
        except loop.JobFailedError as error:
            if ranks.leads:
                state.note(state="failed", final=True, reason=str(error))
        except Exception as error:
            if ranks.leads or isinstance(error, UserError):  # which may be one rank's alone, as of its own disk
                _note_fault(state, error)
            if ranks.world > 1:
                raise
        finally:
            if lock is not None:
                lock.close()


def _note_fault(state: JobState, error: Exception) -> None:
    """Write why an attempt ended; it is the last one where a person must mend something first."""
    told = error if isinstance(error, UserError) else disk.refusal(error)
    if told is not None:
        state.note(state="failed", final=not isinstance(told, disk.DiskError | store.StoreError), reason=str(told))
    elif state.read()["state"] != "failed":
        reason = f"{type(error).__name__}: {error}"
        state.note(reason=reason[:2000], traceback=traceback.format_exc()[-8000:])


def _check_reads(job_spec: JobSpec, ranks: Any) -> None:
    """Fail a job on all ranks alike, where any of them would read other data, code or weights than it was made from."""
    from pipeline.train.loop import JobFailedError

    found = [text for text in ranks.gather(reads.differences(job_spec)) if text is not None]
    if found:
        raise JobFailedError("; ".join(dict.fromkeys(found)))


def _next(job_specs: Sequence[JobSpec], settings: Train) -> tuple[Any, JobSpec | str | None]:
    """The first job that can be taken, with its lock; WAIT if all that is left waits for a job in training."""
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
            _fall_with_source(job_spec, missing)
    return None, waiting


def _fall_with_source(job_spec: JobSpec, missing: Sequence[Path]) -> None:
    """Fail a job whose source failed, as finally as that did."""
    for source in (JobState(work / "state.json").read() for work in missing):
        if source["state"] == "failed" and JobState.of(job_spec).read()["state"] == "waiting":
            job_spec.work.mkdir(parents=True, exist_ok=True)
            reason = f"{source['name']}, which it starts from, failed"
            JobState.of(job_spec).note(
                name=job_spec.name, state="failed", final=source.get("final", False), reason=reason
            )
