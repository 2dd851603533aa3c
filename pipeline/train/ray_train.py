"""Training on Ray: its processes form worker groups (worker_groups.py), and each trains one job after the other.

The processes are started once per run, because their imports take seconds. An error in a group of one process fails
the job alone; in a larger group it ends all processes, and Ray starts them again to resume.
"""

import datetime
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import cluster, device, disk, preflight, store
from pipeline.errors import UserError
from pipeline.params import Train
from pipeline.train import worker_groups
from pipeline.train.follow import Follower
from pipeline.train.job_queue import JobQueue, QueuedJob
from pipeline.train.job_state import JobSpec, JobState
from pipeline.train.worker_groups import After, Member

log = logging.getLogger(__name__)

ENVIRONMENT = {
    **cluster.ENVIRONMENT,
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
}


def run(
    job_specs: Sequence[JobSpec],
    settings: Train,
    root: Path,
    times: dict[str, float],
    follower: Follower,
    after: After | None = None,
) -> None:
    """Train all jobs, and evaluate them by `after`; each job's state says how it ended.

    Adds `ray_start_s` and `ray_s` to `times`.
    """
    os.environ.update(ENVIRONMENT)
    cluster.configure()
    started = time.monotonic()
    with _cluster(root) as (cpus, gpus):
        times["ray_start_s"] = time.monotonic() - started
        cpus, gpus = processors(cpus, gpus)
        widths = {job_spec.fingerprint: width(job_spec, cpus, gpus) for job_spec in job_specs}
        world_size = world(list(widths.values()), settings, gpus or cpus)
        processes = "1 process" if world_size == 1 else f"{world_size} processes"
        log.info(f"train: on {'cuda' if gpus else device.choose(cuda=False)}, {processes}")
        with _job_queue(queued(job_specs, widths), settings, world_size, follower) as ask:
            config = {"job_specs": list(job_specs), "widths": sorted(set(widths.values())), "after": after}
            timeout = datetime.timedelta(minutes=settings.stuck_minutes)
            error = _fit({**config, "ask": ask, "timeout": timeout}, world_size, settings, root, use_gpu=gpus > 0)
        if error is not None:
            _note_cause(job_specs, error)
        times["ray_s"] = time.monotonic() - started


def queued(job_specs: Sequence[JobSpec], widths: dict[str, int]) -> list[QueuedJob]:
    """The jobs as the queue knows them, by the number of processes that train each."""
    marks = {job_spec.fingerprint for job_spec in job_specs}
    return [
        QueuedJob(
            job_spec.name,
            job_spec.fingerprint,
            widths[job_spec.fingerprint],
            job_spec.job.epochs,
            [work.name for work in job_spec.waits_for() if work.name in marks],
            {key: value for key, value in JobState.of(job_spec).read().items() if key != "history"},
        )
        for job_spec in job_specs
    ]


@contextmanager
def _job_queue(jobs: list[QueuedJob], settings: Train, world: int, follower: Follower) -> Iterator[Callable[..., Any]]:
    """The job queue as a Ray actor, which the driver follows; yields what calls it, by method and arguments."""
    import ray

    # each process of a world waits in one call, and so may those of a world that ended; the driver in another
    calls = 3 * world + 8
    actor = ray.remote(num_cpus=0, max_concurrency=calls)(JobQueue).remote(
        jobs, settings.attempts, stop_at_failure=settings.on_failed_job == "stop"
    )
    ask = Asking(actor)
    with follower.following(lambda *arguments: ask("changes", *arguments), lambda: ask("close")):
        yield ask


@dataclass(frozen=True)
class Asking:
    """Calls a method of an actor and waits for its answer; it is pickled to the processes that train."""

    actor: Any

    def __call__(self, method: str, *arguments: Any) -> Any:
        """The method's answer."""
        import ray

        return ray.get(getattr(self.actor, method).remote(*arguments))


def processors(cpus: int, gpus: int) -> tuple[int, int]:
    """How many of Ray's CPUs and GPUs take a process each; UserError if CONVLINE_DEVICE asks for CUDA and Ray has none.

    MPS is one device that Ray does not count, for one process.
    """
    wanted = device.wanted()
    if wanted == "cuda" and not gpus:
        raise UserError(f"{device.VARIABLE}=cuda: Ray has no GPU. Set it to cpu, or unset it.")
    if gpus and wanted in (None, "cuda"):
        return cpus, gpus
    return (1 if device.choose(cuda=False) == "mps" else cpus), 0


def width(job_spec: JobSpec, cpus: int, gpus: int) -> int:
    """The number of processes that train a job together; `auto` is all GPUs, or one process without a GPU.

    Without an epoch there is one: what is fitted once is fitted by one process.
    """
    wanted = job_spec.job.workers if job_spec.job.epochs else 1
    if wanted == "auto":
        return max(1, gpus)
    available = gpus or cpus
    if wanted > available:
        what = "GPUs" if gpus else "CPUs"
        raise UserError(
            f"params.yaml: jobs.{job_spec.name}.workers: {wanted} processes, but Ray has {available} {what}. Lower it."
        )
    return wanted


def world(widths: Sequence[int], settings: Train, available: int) -> int:
    """The number of processes to start: for the largest worker group, and for `train.worker_groups` groups of one.

    available: GPUs, or cores without a GPU.
    """
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
    variables = {**ENVIRONMENT, "PYTHONPATH": str(root), device.VARIABLE: device.wanted() or ""}
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


def _fit(config: dict[str, Any], world: int, settings: Train, root: Path, *, use_gpu: bool) -> Exception | None:
    """Run `_work` in a world of processes, and again while attempts are left; the error with which Ray gave up."""
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback

    # TorchTrainer would import torch into Ray's controller, which trains nothing, and make a process group of its own,
    # which listens on all addresses (see group.py).
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    class Blame(UserCallback):
        """Tells the queue which processes failed, before Ray starts others."""

        def __init__(self, ask: Asking) -> None:
            self.ask = ask

        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
            faults = {rank: " ".join(str(error).split())[:500] for rank, error in worker_exceptions.items()}
            self.ask("blame", faults)

    storage = storage_folder(settings, root)
    storage.mkdir(parents=True, exist_ok=True)
    with store.temporary(storage / "run") as run_folder:
        trainer = DataParallelTrainer(
            _work,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=world, use_gpu=use_gpu, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(
                name=run_folder.name,
                storage_path=str(storage),
                failure_config=FailureConfig(max_failures=settings.attempts * len(config["job_specs"])),
                logging_config=LoggingConfig(log_level="ERROR"),
                callbacks=[Blame(config["ask"])],
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            return error
    return None


def _note_cause(job_specs: Sequence[JobSpec], error: Exception) -> None:
    """Add to the states of jobs that have not ended why Ray gave up."""
    for job_spec in job_specs:
        state = JobState.of(job_spec)
        if state.read()["state"] in ("waiting", "running"):
            reason = str(disk.disk_error(error) or " ".join(str(error).split())[:500])
            state.note(reason=state.read().get("reason") or reason)


def _work(config: dict[str, Any]) -> None:
    """What every worker process runs: join the world, then train."""
    import torch
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero
    from ray.train.torch import get_device
    from ray.util import get_node_ip_address

    from pipeline.train import group

    chosen = str(get_device())  # one of the GPUs that Ray shares out
    if chosen == "cpu":
        chosen = device.choose(cuda=False)
        torch.set_num_threads(1)  # until a job's state says more
    context, address = get_context(), get_node_ip_address()
    rank, world = context.get_world_rank(), context.get_world_size()
    member = Member(config["ask"], broadcast_from_rank_zero(uuid.uuid4().hex), world, rank)
    member.enter(f"process {rank + 1} of {world} (pid {os.getpid()} on {address})")
    if config["widths"][-1] > 1:
        backend = "nccl" if chosen.startswith("cuda") else "gloo"
        group.join(rank, world, address, broadcast_from_rank_zero, backend=backend, timeout=config["timeout"])
    settings = {name: config[name] for name in ("job_specs", "widths", "timeout", "after")}
    worker_groups.run(member=member, device=chosen, **settings)
