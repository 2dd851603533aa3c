"""What every Ray of this project is told: `tell` comes before `import ray`, which reads some of it once."""

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
    if os.environ.get("RAY_ADDRESS", "local").partition(":")[0] in HERE:
        os.environ.update(LOOPBACK)


@contextlib.contextmanager
def own_handler() -> Iterator[None]:
    """What this process does at SIGTERM stays its own: `ray.init` puts an exit with code 15 in its place."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    with contextlib.suppress(ValueError):  # another thread than the main one; there Ray leaves it alone
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def attended() -> Iterator[None]:
    """While the block runs, this process is told to end when one of the heads has that its own Ray began."""
    heads = {process.name(): process for process in psutil.Process().children() if process.name() in HEADS}
    over = threading.Event()

    def attend() -> None:
        while not over.wait(LOOK_S):
            for name, process in heads.items():
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    log.error(f"\nRay's {name} has ended; was it killed? The next run resumes.")
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

    attending = threading.Thread(target=attend, name="attend", daemon=True)
    attending.start()
    try:
        yield
    finally:
        over.set()
        attending.join()
