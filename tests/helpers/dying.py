"""A process that is killed by SIGKILL at a chosen call of a chosen function."""

import os
import signal
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]
PATCH = """
import importlib, os, signal, sys
name, number = sys.argv[1], int(sys.argv[2])
module, _, path = name.partition(":")
holder = importlib.import_module(module)
*owners, last = path.split(".")
for owner in owners:
    holder = getattr(holder, owner)
original, calls = getattr(holder, last), 0

def dying(*args, **kwargs):
    global calls
    calls += 1
    if calls == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(holder, last, dying)
"""


def die_at(name: str, number: int, program: str, folder: Path) -> None:
    """Run a program in a folder until it calls the function `module:path` for this time, and is killed there."""
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", PATCH + program, name, str(number)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL, f"{done.returncode}: {done.stderr[-2000:]}"
