"""Ends a process of a run when a signal asks for it, and when one of the run's processes above it has ended.

make → flows.repro → dvc → a stage → Ray. Each of our processes adds its tag, `pid@start`, to those that it inherits in
`CONVLINE_ANCESTORS`, and checks four times a second that all of them are alive. A pipe to the parent would not do:
make is not ours, and DVC and Ray close what their children would inherit. Linux's signal on a parent's death would not
do either: it comes when the thread ends that started the child. Ray ends its own processes with the stage; whatever
else a process leaves behind is found by the tag and killed.
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

ANCESTORS = _processes.ANCESTORS
#: programs that start a process of ours and have no tag
STARTERS = {"make", "gmake", "dvc"}
POLL_S, GRACE_S = 0.25, 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ancestors:
    """The processes of the run that are above this one."""

    def __init__(self) -> None:
        self.inherited = os.environ.get(ANCESTORS, "").split()
        self.tags = self.inherited or [
            _tag(process) for process in psutil.Process().parents()[:2] if _is_starter(process)
        ]
        self.tag = _tag(psutil.Process())
        self.processes = [_process(tag) for tag in self.tags]

    def alive(self) -> bool:
        """Whether all of them still run."""
        return all(process is not None and _processes.is_running(process) for process in self.processes)

    def environment(self) -> dict[str, str]:
        """The variable that names them and this process to its children."""
        return {ANCESTORS: " ".join([*self.tags, self.tag])}


class ShutdownWatch(threading.Thread):
    """Waits for a reason to end, and ends this process by force if it has not ended `grace_s` seconds later.

    It learns of signals by the interpreter's wakeup pipe, whichever handlers Ray or Prefect put in place of ours.
    """

    def __init__(self, ancestors: Ancestors, wakeup: int, on_shutdown: Callable[[], None], grace_s: float) -> None:
        super().__init__(name="shutdown", daemon=True)
        self.ancestors, self.wakeup, self.on_shutdown, self.grace_s = ancestors, wakeup, on_shutdown, grace_s
        self.started, self.finished = threading.Event(), threading.Event()
        #: the exit code of the process once the shutdown has started
        self.code = 0

    def run(self) -> None:
        """Wait for a signal or for the end of an ancestor, then for the main thread to unwind."""
        while not self.finished.is_set():
            number = self._signal()
            if number is None and self.ancestors.alive():
                continue
            self.code = 128 + (number or signal.SIGTERM)
            with contextlib.suppress(Exception):  # a failing message must not delay the shutdown
                self.on_shutdown()
            self.started.set()
            if number != signal.SIGTERM:  # which every handler, also Ray's and Prefect's, turns into an exception
                os.kill(os.getpid(), signal.SIGTERM)
            if not self.finished.wait(self.grace_s):
                _processes.kill(self.ancestors.tag)
                os._exit(self.code)

    def unwind(self, number: int, _: Any) -> None:
        """Raise SystemExit in the main thread, once: a second Ctrl-C would interrupt the clean-up."""
        for each in SIGNALS:
            signal.signal(each, _ignore)  # not SIG_IGN: Python prints a traceback if the other signal is pending
        self.started.wait(2 * POLL_S)  # the message of `on_shutdown` comes before anything that unwinding may print
        sys.exit(128 + number)

    def _signal(self) -> int | None:
        """The number of a signal that asks for the end, if one came."""
        ready, _, _ = select.select([self.wakeup], [], [], POLL_S)
        return next((number for number in os.read(self.wakeup, 64) if number in SIGNALS), None) if ready else None


def _ignore(_number: int, _frame: Any) -> None:
    """Do nothing: the shutdown has begun."""


@contextlib.contextmanager
def graceful_shutdown(
    on_shutdown: Callable[[Ancestors], None] = lambda _: None, grace_s: float = GRACE_S
) -> Iterator[Ancestors]:
    """Watch while the block runs, in the main thread; a shutdown interrupts it and leaves as SystemExit.

    Args:
        on_shutdown: Is called in another thread when the shutdown starts.
        grace_s: Seconds that the block has to unwind; then the process is ended by force.
    """
    ancestors, inherited = Ancestors(), os.environ.get(ANCESTORS)
    wakeup, write = os.pipe()
    os.set_blocking(write, False)
    watch = ShutdownWatch(ancestors, wakeup, lambda: on_shutdown(ancestors), grace_s)
    os.environ.update(ancestors.environment())
    handlers = {number: signal.signal(number, watch.unwind) for number in SIGNALS}
    former_wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    watch.start()
    try:
        yield ancestors
    except BaseException as error:
        # A signal may have reached the main thread before the watch; an error comes later than what caused it.
        if not watch.started.wait(0.0 if isinstance(error, Exception) else 2 * POLL_S):
            raise
    finally:
        if watch.started.is_set():
            _processes.kill(ancestors.tag)
            watch.finished.set()
            sys.exit(watch.code)
        watch.finished.set()
        signal.set_wakeup_fd(former_wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.pop(ANCESTORS)
        os.environ.update({} if inherited is None else {ANCESTORS: inherited})
        watch.join()
        os.close(write)
        os.close(wakeup)


def silence_output() -> None:
    """Send what this process still prints to /dev/null: stacks of interrupted libraries help nobody."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    os.close(null)


def _is_starter(process: psutil.Process) -> bool:
    """Whether this is make or dvc, which may stand in the command line behind its interpreter and `-m`."""
    with contextlib.suppress(psutil.Error):
        return any(Path(word).name in STARTERS for word in process.cmdline()[:3])
    return False


def _tag(process: psutil.Process) -> str:
    return f"{process.pid}@{process.create_time():.2f}"


def _process(tag: str) -> psutil.Process | None:
    """The living process of a tag."""
    pid, _, start = tag.partition("@")
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(start)) < 1.0:
            return process
    return None
