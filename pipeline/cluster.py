"""Settings of every Ray of this project: call `configure` before `import ray`, which reads some of them once."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # benchmarks/gpu.py runs where psutil is not installed
    import psutil

log = logging.getLogger(__name__)
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's default is 15: any other program on the machine would come first
}
LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray listens on all of the machine's addresses
    "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # else the one of the host's name
}
#: without these a driver waits for a minute, then ends with a C++ stack trace
HEADS, POLL_S = ("gcs_server", "raylet"), 0.25
LOCAL = ("local", "127.0.0.1", "localhost")


def configure() -> None:
    """Set this process's variables for Ray: a cluster on this machine stays on the loopback."""
    os.environ.update(ENVIRONMENT)
    # A driver's C++ has no log file and writes to the terminal; its errors reach Python as exceptions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if os.environ.get("RAY_ADDRESS", "local").partition(":")[0] in LOCAL:
        os.environ.update(LOOPBACK)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Around `ray.init`: this process keeps its handler of SIGTERM, and Ray's C++ writes nothing to the terminal.

    Ray would put an exit with code 15 in the handler's place. Its C++ says that it has read RAY_BACKEND_LOG_LEVEL.
    """
    handler = signal.getsignal(signal.SIGTERM)
    sys.stderr.flush()
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
    with contextlib.suppress(ValueError):  # another thread than the main one; there Ray leaves it alone
        signal.signal(signal.SIGTERM, handler)


def silence(worker: Any) -> None:
    """Keep raylet's reports to its driver off the terminal: the run itself reports which job failed and why.

    Ray has no setting for it: `log_to_driver` is about the output of workers.

    Args:
        worker: The module `ray._private.worker`.
    """
    worker.print_to_stdstream = lambda *_, **__: None


@contextlib.contextmanager
def end_together(shutdown: Callable[[], None]) -> Iterator[None]:
    """End this process and its own Ray together while the block runs; then shut Ray down, with all that is left.

    This process ends itself if gcs_server or raylet has ended. If this process is killed, Ray ends these two. In both
    cases raylet's agents would query the dead GCS for a minute, so they are killed here.

    Args:
        shutdown: ray.shutdown.
    """
    import psutil

    heads = {process.name(): process for process in psutil.Process().children() if process.name() in HEADS}
    agents = [agent for head in heads.values() for agent in head.children()]
    finished = threading.Event()
    thread = threading.Thread(target=_watch_heads, args=(heads, finished), name="watch-heads", daemon=True)
    thread.start()
    with _killed_with_this_process(agents):
        try:
            yield
        finally:
            finished.set()
            thread.join()
            shutdown()
            for agent in agents:
                with contextlib.suppress(psutil.NoSuchProcess):
                    agent.kill()


def _watch_heads(heads: "dict[str, psutil.Process]", finished: threading.Event) -> None:
    """End this process when one of the heads has ended."""
    import psutil

    while not finished.wait(POLL_S):
        for name, process in heads.items():
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                log.error(f"\nRay's {name} has ended; was it killed? The next run resumes.")
                os.kill(os.getpid(), signal.SIGTERM)
                return


@contextlib.contextmanager
def _killed_with_this_process(processes: "Sequence[psutil.Process]") -> Iterator[None]:
    """While the block runs, a shell waits for the end of a pipe from this process, then kills the given processes.

    Its environment lacks the run's tag, by which a process that is told to end kills all below it before itself.
    """
    pids = " ".join(str(process.pid) for process in processes)
    command = ["/bin/sh", "-c", f"read -r _; kill -9 {pids} 2>/dev/null"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env={}) as shell:
        try:
            yield
        finally:
            shell.kill()
