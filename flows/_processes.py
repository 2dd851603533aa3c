"""The processes of a run: all that it starts carries its mark in the environment, is found by it, and ends with it.

A run from the UI is marked by its number in Prefect, whose cancel ends the process of the flow alone; and each process
of `make repro` by its own number and start (flows/_ends.py).
"""

import collections
import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from flows._commands import environment, ours
from pipeline.terminal import output

#: names the flow run that a process works for; all that it starts inherits it
RUN = "CONVLINE_RUN"
#: names the processes of the run that are above a process
ABOVE = "CONVLINE_ABOVE"
TERMINATE_S, KILL_S, POLL_S = 4.0, 2.0, 0.1
LAST_LINES = 15


def call(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command and print what it prints; its exit code and last lines. However it ends, nothing is left of it."""
    last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
    process = subprocess.Popen(
        ours(command),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.strip():
                output(line.rstrip())
                last.append(line.rstrip())
        return process.wait(), "\n".join(last)
    finally:
        end(os.environ[RUN])
        process.wait()


def runs(process: psutil.Process) -> bool:
    """Whether a process is still there, and no zombie."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def end(mark: str) -> int:
    """End the processes of a run politely, then by force; returns how many there were."""
    return len(_signal(mark, "terminate", TERMINATE_S) | kill(mark))


def kill(mark: str) -> set[psutil.Process]:
    """End the processes of a run by force; returns them."""
    return _signal(mark, "kill", KILL_S)


def await_end(mark: str, patience: float) -> bool:
    """Whether the processes of a run end by themselves within these seconds."""
    deadline = time.monotonic() + patience
    while of(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _signal(mark: str, signal: str, patience: float) -> set[psutil.Process]:
    """Signal each process of a run once, also those that come up meanwhile, until all have ended."""
    deadline = time.monotonic() + patience
    told: set[psutil.Process] = set()
    while (alive := of(mark)) and time.monotonic() < deadline:
        for process in set(alive) - told:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, signal)()
        told |= set(alive)
        time.sleep(POLL_S)
    return told


def of(mark: str) -> list[psutil.Process]:
    """Living processes that were started with this mark in their environment, other than this one."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            known = process.environ()
            marks = [known.get(RUN), *known.get(ABOVE, "").split()]
            if mark in marks and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members
