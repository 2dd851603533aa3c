"""The processes of a flow run: all that it starts carries its number in the environment, and ends with it.

Prefect's cancel ends the process of the flow alone; DVC, the stages and what Ray starts would stay.
"""

import collections
import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from flows._run import RUN

TERMINATE_S, KILL_S, POLL_S = 4.0, 2.0, 0.1
LAST_LINES = 15


def call(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command and print what it prints; its exit code and last lines. However it ends, nothing is left of it."""
    last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
    process = subprocess.Popen(
        command,
        cwd=folder,
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
                print(line.rstrip())
                last.append(line.rstrip())
        return process.wait(), "\n".join(last)
    finally:
        end(os.environ[RUN])
        process.wait()


def end(run: str) -> int:
    """End the processes of a flow run politely, then by force; returns how many there were."""
    found = set(_of(run))
    for signal, patience in (("terminate", TERMINATE_S), ("kill", KILL_S)):
        deadline = time.monotonic() + patience
        told: set[psutil.Process] = set()
        while (alive := _of(run)) and time.monotonic() < deadline:
            for process in set(alive) - told:
                with contextlib.suppress(psutil.NoSuchProcess):
                    getattr(process, signal)()
            told |= set(alive)
            time.sleep(POLL_S)
        found |= told
    return len(found)


def _of(run: str) -> list[psutil.Process]:
    """Living processes that were started with this run in their environment, other than this one."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(RUN) == run and process.pid != os.getpid():
                members.append(process)
    return members
