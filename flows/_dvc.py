"""`python -m flows._dvc repro`: DVC in a process that ends without a word when it is told to, or when repro has ended.

DVC alone would go on to hash and to start stages for nobody, pass over a Ctrl-C that reaches it alone, and say of a
run that a person stopped that it failed.
"""

import os
import signal
import sys
import threading

from flows import _ends


def main() -> int:
    """Run DVC in a thread, so that this one hears signals; returns its exit code."""
    from dvc.cli import main as dvc

    above = _ends.Above()
    os.environ.update(above.environment())
    for number in _ends.SIGNALS:
        signal.signal(number, lambda number, _: os._exit(128 + number))
    codes: list[int] = []
    work = threading.Thread(target=lambda: codes.append(dvc(sys.argv[1:])), daemon=True)
    work.start()
    while work.is_alive():
        work.join(_ends.LOOK_S)
        if not above.live():
            os._exit(128 + signal.SIGTERM)
    return codes[0] if codes else 1


if __name__ == "__main__":
    sys.exit(main())
