"""What every Ray of this project is told: `tell` comes before `import ray`, which reads some of it once."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's own is 15: anything else on the machine would come first
}
LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray listens on all of the machine's addresses
    "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # else on the one that its name stands for
}
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
