"""A clone of this tree's files with the short roster, for timing the commands that a person types."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROSTER = "roster: [linear, lenet5]"


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """A repository of its own, not yet run; removed when this process ends."""
    made = tempfile.TemporaryDirectory(prefix="convline-")
    copy_tree(Path(made.name))
    settings = Path(made.name) / "params.yaml"
    settings.write_text(settings.read_text().replace("roster: core", ROSTER, 1))
    shell("git init -q && git add -A && git -c user.name=a -c user.email=a@b commit -qm clone", made.name)
    return made


def copy_tree(folder: Path) -> None:
    """This tree's files as they are now, without a record of earlier runs; tests take it too."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def shell(command: str, folder: str | None = None) -> None:
    """Run a command in the clone, in this environment; CalledProcessError, with its words printed, if it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
    target = folder or _folder().name
    done = subprocess.run(command, shell=True, cwd=target, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
        done.check_returncode()


def clean() -> None:
    """Remove all that was made in the clone, DVC's cache and MLflow's database too."""
    shell("git clean -qfdx && git checkout -q .")


def ran() -> None:
    """Bring the clone up to date, if it is not."""
    shell("python -m flows.repro")
