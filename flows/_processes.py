"""Finds and ends the processes of a run: each carries the run's tag in its environment.

The tag of a run from the UI is its id in Prefect, whose cancel ends the flow's own process only. The tag of a process
of `make repro` is its pid and start time (flows/_shutdown.py).
"""

import collections
import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from flows.child_commands import environment, with_this_python
from pipeline.terminal import output

#: the variable with the id of the flow run that a process works for
RUN = "CONVLINE_RUN"
#: the variable with the tags of the processes of the run that are above a process
ANCESTORS = "CONVLINE_ANCESTORS"
TERMINATE_S, KILL_S, POLL_S = 4.0, 2.0, 0.1
LAST_LINES = 15


def run_command(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command and print its output; returns its exit code and last lines. In the end none of it still runs."""
    last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
    process = subprocess.Popen(
        with_this_python(command),
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
        terminate(os.environ[RUN])
        process.wait()


def is_running(process: psutil.Process) -> bool:
    """Whether a process exists and is no zombie."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def terminate(tag: str) -> int:
    """End the processes of a run by SIGTERM, then by SIGKILL; returns how many there were."""
    return len(_signal(tag, "terminate", TERMINATE_S) | kill(tag))


def kill(tag: str) -> set[psutil.Process]:
    """End the processes of a run by SIGKILL; returns them."""
    return _signal(tag, "kill", KILL_S)


def wait_for_end(tag: str, timeout_s: float) -> bool:
    """Whether the processes of a run end by themselves within these seconds."""
    deadline = time.monotonic() + timeout_s
    while with_tag(tag):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _signal(tag: str, signal: str, timeout_s: float) -> set[psutil.Process]:
    """Signal each process of a run once, also those that start meanwhile, until all have ended."""
    deadline = time.monotonic() + timeout_s
    signalled: set[psutil.Process] = set()
    while (alive := with_tag(tag)) and time.monotonic() < deadline:
        for process in set(alive) - signalled:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, signal)()
        signalled |= set(alive)
        time.sleep(POLL_S)
    return signalled


def with_tag(tag: str) -> list[psutil.Process]:
    """Living processes with this tag in their environment, other than this one."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            variables = process.environ()
            tags = [variables.get(RUN), *variables.get(ANCESTORS, "").split()]
            if tag in tags and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes
