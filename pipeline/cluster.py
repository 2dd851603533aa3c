"""What every Ray of this project is told: `tell` comes before `import ray`, which reads some of it once."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

from pipeline import terminal

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's own is 15: anything else on the machine would come first
}
LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray listens on all of the machine's addresses
    "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # else on the one that its name stands for
}
#: without these a driver waits for a minute, then dies with a stack of C++
HEADS, LOOK_S = ("gcs_server", "raylet"), 0.25
HERE = ("local", "127.0.0.1", "localhost")


def tell() -> None:
    """Prepare this process for its Ray: its own or one on this machine stays on the loopback."""
    os.environ.update(ENVIRONMENT)
    # a driver's C++ has no log file and writes to the terminal; its errors reach Python as exceptions
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if os.environ.get("RAY_ADDRESS", "local").partition(":")[0] in HERE:
        os.environ.update(LOOPBACK)


@contextlib.contextmanager
def own_handler() -> Iterator[None]:
    """What this process does at SIGTERM stays its own: `ray.init` puts an exit with code 15 in its place."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    with contextlib.suppress(ValueError):  # another thread than the main one; there Ray leaves it alone
        signal.signal(signal.SIGTERM, handler)


def silence(worker: Any) -> None:
    """Keep what raylet reports to its driver off the terminal: the run says itself which job failed and what follows.

    Ray has no setting for it: `log_to_driver` is about what workers print.

    Args:
        worker: The module `ray._private.worker`.
    """
    worker.print_to_stdstream = lambda *_, **__: None


@contextlib.contextmanager
def attended(shutdown: Callable[[], None]) -> Iterator[None]:
    """While the block runs, this process and its own Ray end together; then Ray is shut down, with all that is left.

    This process is told to end when gcs_server or raylet has ended. Where this process is killed, Ray kills these two.
    In both cases raylet's agents would ask the dead GCS for a minute, so they are killed here.

    Args:
        shutdown: ray.shutdown.
    """
    heads = {process.name(): process for process in psutil.Process().children() if process.name() in HEADS}
    agents = [agent for head in heads.values() for agent in head.children()]
    over = threading.Event()
    attending = threading.Thread(target=_end_with, args=(heads, over), name="attend", daemon=True)
    attending.start()
    with _killed_with_this_process(agents):
        try:
            yield
        finally:
            over.set()
            attending.join()
            shutdown()
            for agent in agents:
                with contextlib.suppress(psutil.NoSuchProcess):
                    agent.kill()


def _end_with(heads: dict[str, psutil.Process], over: threading.Event) -> None:
    """End this process when one of the heads has ended."""
    while not over.wait(LOOK_S):
        for name, process in heads.items():
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                terminal.tell(f"\nRay's {name} has ended; was it killed? The next run resumes.", error=True, flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                return


@contextlib.contextmanager
def _killed_with_this_process(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """While the block runs, a shell waits for the end of a pipe that this process holds, then kills the others."""
    numbers = " ".join(str(process.pid) for process in processes)
    command = ["/bin/sh", "-c", f"read -r _; kill -9 {numbers} 2>/dev/null"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as shell:
        try:
            yield
        finally:
            shell.kill()
