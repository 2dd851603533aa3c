"""Settings of every Ray of this project: call `configure` before `import ray`, which reads some of them once."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator

import psutil

log = logging.getLogger(__name__)
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's default is 15: any other program on the machine would come first
}
LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray listens on all of the machine's addresses
    "GLOO_SOCKET_IFNAME": "lo0"
    if sys.platform == "darwin"
    else "lo",  # else on the address that the host's name resolves to
}
#: without these a driver waits for a minute, then ends with a C++ stack trace
HEADS, POLL_S = ("gcs_server", "raylet"), 0.25
LOCAL = ("local", "127.0.0.1", "localhost")


def configure() -> None:
    """Set this process's variables for Ray: a cluster on this machine stays on the loopback."""
    os.environ.update(ENVIRONMENT)
    if os.environ.get("RAY_ADDRESS", "local").partition(":")[0] in LOCAL:
        os.environ.update(LOOPBACK)


@contextlib.contextmanager
def keep_sigterm_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM after the block: `ray.init` replaces it by an exit with code 15."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    with contextlib.suppress(ValueError):  # not in the main thread; there Ray does not change it
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def watch_heads() -> Iterator[None]:
    """End this process while the block runs if a head process of its own Ray has ended."""
    heads = {process.name(): process for process in psutil.Process().children() if process.name() in HEADS}
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(POLL_S):
            for name, process in heads.items():
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    log.error(f"\nRay's {name} has ended; was it killed? The next run resumes.")
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

    thread = threading.Thread(target=watch, name="watch-heads", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
