"""A process of a run ends when it is told to, and when one of those above it has ended.

make → flows.repro → dvc → a stage → Ray. Each process of ours adds its mark, `number@start`, to those that it inherits
in `CONVLINE_ABOVE`, and looks four times a second whether they all live. One look serves every link: a pipe whose
other end the parent holds can't, since make is not ours and DVC and Ray close what their children would inherit; and
Linux's signal on a parent's death comes already when the thread ends that began the child. Ray's own processes end
with the stage; what a process leaves below it is found by its mark and killed.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from flows import _processes

ABOVE = _processes.ABOVE
#: programs that start one of ours, and have no mark
STARTERS = {"make", "gmake", "dvc"}
LOOK_S, UNWIND_S = 0.25, 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Above:
    """The processes of the run that are above this one."""

    def __init__(self) -> None:
        self.inherited = os.environ.get(ABOVE, "").split()
        self.marks = self.inherited or [
            _mark(process) for process in psutil.Process().parents()[:2] if _starts(process)
        ]
        self.mark = _mark(psutil.Process())
        self.processes = [_living(mark) for mark in self.marks]

    def live(self) -> bool:
        """Whether all of them still run."""
        return all(process is not None and _processes.runs(process) for process in self.processes)

    def environment(self) -> dict[str, str]:
        """What tells those below of them, and of this process."""
        return {ABOVE: " ".join([*self.marks, self.mark])}


class Watch(threading.Thread):
    """Sees that the end has come, and to it that this process has ended `patience` seconds later.

    It learns of signals by the interpreter's wakeup pipe, whichever handler Ray or Prefect put in place of ours.
    """

    def __init__(self, above: Above, wakeup: int, told: Callable[[], None], patience: float) -> None:
        super().__init__(name="ends", daemon=True)
        self.above, self.wakeup, self.told, self.patience = above, wakeup, told, patience
        self.begun, self.over = threading.Event(), threading.Event()
        #: what the process is to exit with, once its end has begun
        self.code = 0

    def run(self) -> None:
        """Wait for the end, then for the main thread to unwind."""
        while not self.over.is_set():
            number = self._signal()
            if number is None and self.above.live():
                continue
            self.code = 128 + (number or signal.SIGTERM)
            with contextlib.suppress(Exception):  # the end does not wait for words about it
                self.told()
            self.begun.set()
            if number != signal.SIGTERM:  # of it every handler, also Ray's and Prefect's, makes an exception
                os.kill(os.getpid(), signal.SIGTERM)
            if not self.over.wait(self.patience):
                _processes.kill(self.above.mark)
                os._exit(self.code)

    def unwind(self, number: int, _: Any) -> None:
        """Leave what the main thread does, once: a second Ctrl-C would cut the tidying up short."""
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self.begun.wait(2 * LOOK_S)  # what is told comes before anything that unwinding may print
        sys.exit(128 + number)

    def _signal(self) -> int | None:
        """The number of a signal that asks for the end, if one came."""
        ready, _, _ = select.select([self.wakeup], [], [], LOOK_S)
        return next((number for number in os.read(self.wakeup, 64) if number in SIGNALS), None) if ready else None


@contextlib.contextmanager
def watched(told: Callable[[Above], None] = lambda _: None, patience: float = UNWIND_S) -> Iterator[Above]:
    """Watch while the block runs, in the main thread. The end comes there as an exception, and leaves as SystemExit.

    Args:
        told: Is called in another thread when the end begins.
        patience: Seconds that the block has to unwind; then the process is ended by force.
    """
    above, before = Above(), os.environ.get(ABOVE)
    wakeup, write = os.pipe()
    os.set_blocking(write, False)
    watch = Watch(above, wakeup, lambda: told(above), patience)
    os.environ.update(above.environment())
    handlers = {number: signal.signal(number, watch.unwind) for number in SIGNALS}
    old = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    watch.start()
    try:
        yield above
    except BaseException as error:
        # A signal may have reached the main thread before the watch; an error comes later than what caused it.
        if not watch.begun.wait(0.0 if isinstance(error, Exception) else 2 * LOOK_S):
            raise
    finally:
        if watch.begun.is_set():
            _processes.kill(above.mark)
            watch.over.set()
            sys.exit(watch.code)
        watch.over.set()
        signal.set_wakeup_fd(old)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.pop(ABOVE)
        os.environ.update({} if before is None else {ABOVE: before})
        watch.join()
        os.close(write)
        os.close(wakeup)


def hush() -> None:
    """Let nothing more of this process reach the terminal: stacks of libraries that are cut short help nobody."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _starts(process: psutil.Process) -> bool:
    """Whether this is make or dvc, which may stand in the command line behind its interpreter and `-m`."""
    with contextlib.suppress(psutil.Error):
        return any(Path(word).name in STARTERS for word in process.cmdline()[:3])
    return False


def _mark(process: psutil.Process) -> str:
    return f"{process.pid}@{process.create_time():.2f}"


def _living(mark: str) -> psutil.Process | None:
    number, _, started = mark.partition("@")
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(int(number))
        if abs(process.create_time() - float(started)) < 1.0:
            return process
    return None
