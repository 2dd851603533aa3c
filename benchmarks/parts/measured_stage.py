"""Seconds, peak memory and disk of a piece of work that runs in processes of its own."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.child_commands import NO_TELEMETRY

ROOT = Path(__file__).parents[2]
#: seconds between two looks at the memory
EVERY_S = 0.3


@dataclass(frozen=True)
class Use:
    """What it took: wall seconds, and the largest sum of its processes' memory without pages of files."""

    seconds: float
    peak_bytes: int


def run(command: list[str], folder: Path) -> Use:
    """Run a command of this Python, as `["-m", "dvc", "status"]`, in a folder; CalledProcessError if it fails."""
    environment = {**os.environ, **NO_TELEMETRY, "PYTHONPATH": str(ROOT)}
    started, peak, over = time.perf_counter(), 0, threading.Event()
    process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.DEVNULL)

    def look() -> None:
        nonlocal peak
        while not over.wait(EVERY_S):
            peak = max(peak, _memory(process.pid))

    watching = threading.Thread(target=look)
    watching.start()
    code = process.wait()
    seconds = time.perf_counter() - started
    over.set()
    watching.join()
    if code:
        raise subprocess.CalledProcessError(code, command)
    return Use(seconds, peak)


def _memory(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(OSError):
                total += _anonymous(process.pid)
    return total


def _anonymous(pid: int) -> int:
    """Bytes that a process holds beside files, of which the system drops the pages when it needs them."""
    entries = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    kilobytes = {name.rstrip(":"): int(value) for name, value, *_ in entries}
    return 1024 * (kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"])


def blocks(folders: Iterable[Path]) -> int:
    """Bytes of the disk's blocks that the files in some folders take, each link to a file once."""
    files = (path.lstat() for folder in folders for path in folder.rglob("*"))
    return sum({status.st_ino: status.st_blocks * 512 for status in files}.values())
