"""Several processes that train together without Ray: a world whose job queue is served to them over a socket.

They are forks of a server that has imported torch once, so that starting them takes no import.
"""

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import torch.distributed as dist

from pipeline.params import Train
from pipeline.train import ray_train, worker_groups
from pipeline.train.follow import Follower
from pipeline.train.job_queue import JobQueue
from pipeline.train.job_state import JobSpec
from pipeline.train.worker_groups import Member

PRELOAD = ["pipeline.train.loop", "tests.helpers.worlds"]
KEY = b"worlds"
WAIT_S = 300.0


def start(function: Callable[..., None], *arguments: Any, size: int = 2) -> None:
    """Run `function(rank, *arguments)` in as many processes; RuntimeError if one ends otherwise than well."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    processes = [context.Process(target=function, args=(rank, *arguments), daemon=True) for rank in range(size)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + WAIT_S
    try:
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode != 0:
                raise RuntimeError(f"a process ended with {process.exitcode}")
    finally:
        for process in processes:
            process.kill()


def meet(rank: int, meeting: Path | str, size: int = 2) -> None:
    """Join torch's process group at a file."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)


@dataclass(frozen=True)
class Asking:
    """Calls the queue that a process serves at an address."""

    address: Any

    def __call__(self, method: str, *arguments: Any) -> Any:
        """The method's answer."""
        with Client(self.address, authkey=KEY) as connection:
            connection.send((method, arguments))
            answer = connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextlib.contextmanager
def serving(queue: JobQueue) -> Iterator[Asking]:
    """Serve a queue while the block runs."""

    def answer(connection: Connection) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            method, arguments = connection.recv()
            try:
                connection.send(getattr(queue, method)(*arguments))
            except Exception as error:
                connection.send(error)

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                threading.Thread(target=answer, args=(listener.accept(),), daemon=True).start()

    with Listener(authkey=KEY) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield Asking(listener.address)


def train(
    function: Callable[..., None], job_specs: Sequence[JobSpec], *arguments: Any, settings: Train | None = None
) -> None:
    """Run `function(rank, ask, job_specs, *arguments)` in two processes, where `ask` asks a queue of these jobs."""
    widths = {job_spec.fingerprint: int(job_spec.job.workers) for job_spec in job_specs}
    queue = JobQueue(ray_train.queued(job_specs, widths), (settings or Train()).attempts)
    follower = Follower(job_specs, None)
    with serving(queue) as ask, follower.following(queue.changes, queue.close):
        start(function, ask, job_specs, *arguments)


def member(rank: int, ask: Asking, world: str = "world") -> Member:
    """This process as a member of a world of two."""
    made = Member(ask, world, 2, rank)
    made.enter(f"process {rank + 1} of 2 (pid {os.getpid()})")
    return made


def work(rank: int, ask: Asking, job_specs: Sequence[JobSpec], **options: Any) -> None:
    """Train the jobs of a queue, as each process of a world does."""
    widths = [int(job_spec.job.workers) for job_spec in job_specs]
    worker_groups.run(job_specs, widths, member(rank, ask), **options)
