"""`python -m flows._dvc repro`: DVC in a process that ends silently on a signal, or when repro has ended.

DVC alone would go on to hash and to start stages after repro has ended, ignore a Ctrl-C that reaches it alone, and
report a run that a person stopped as failed.
"""

import os
import signal
import sys
import threading

from flows import _shutdown


def main() -> int:
    """Run DVC in a thread, so that the main thread handles signals; returns its exit code."""
    from dvc.cli import main as dvc

    ancestors = _shutdown.Ancestors()
    os.environ.update(ancestors.environment())
    for number in _shutdown.SIGNALS:
        signal.signal(number, lambda number, _: os._exit(128 + number))
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(dvc(sys.argv[1:])), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_shutdown.POLL_S)
        if not ancestors.alive():
            os._exit(128 + signal.SIGTERM)
    return codes[0] if codes else 1


if __name__ == "__main__":
    sys.exit(main())
