"""The version of convline that is installed, and the commit of the clone that it runs from."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CODE = Path(__file__).parents[1]


def text() -> str:
    """`convline 0.1.0 (commit 809ce01)`; without a commit where the code is not in a clone."""
    try:
        number = version("convline")
    except PackageNotFoundError:
        number = "not installed"
    commit = _commit()
    return f"convline {number}" + (f" (commit {commit})" if commit else "")


def _commit() -> str | None:
    """The clone's commit; None outside a clone and where git does not answer."""
    if not (CODE / ".git").exists():  # a file in a git worktree
        return None
    command = ["git", "-C", str(CODE), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
