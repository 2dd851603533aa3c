"""Whether `make repro` has nothing to do, answered without the imports of a run, which take longer than the answer.

DVC says whether a stage is stale, except for the two that always run: `choose`, whose file is compared here, and
`register`, which compares MLflow with the results. For register, and for the checks before a run, a run that ended well
leaves a digest of the files that they read: names, sizes and times. If the digests are the same and DVC finds no stale
stage, a run would change nothing.
"""

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows import choose
from flows.child_commands import environment
from pipeline import project, store

#: where a run leaves its digests
FOLDER = ".work/unchanged"
#: what a run reads besides what dvc.yaml names: settings, plug-ins and weights as a whole, code, installed libraries
INPUTS = ("params.yaml", "params", "plugins", "dvc.yaml", "weights", "weights.lock")
CODE = ("pipeline", "flows")
#: what register compares with the results, and a person can change by MLflow's pages
RECORDS = ("mlruns",)
#: the variable of the key by which register signs models
KEY = "CONVLINE_KEY"


def inputs(root: Path) -> str:
    """The digest of what a run reads, and of where it runs."""
    paths = [*(root / name for name in INPUTS), *(project.CODE / name for name in CODE)]
    libraries = Path(sysconfig.get_path("purelib")).stat().st_mtime_ns
    return store.digest([str(root.resolve()), libraries, os.environ.get(KEY), *_listing(paths)])


def records(root: Path) -> str:
    """The digest of MLflow's files, as register left them."""
    return store.digest([*_listing(root / name for name in RECORDS)])


def note(root: Path, what: str, digest: str) -> None:
    """Leave a digest, `inputs` or `records`, for the next run."""
    store.write_json(root / FOLDER / f"{what}.json", digest)


def is_unchanged(root: Path, words: Sequence[str]) -> bool:
    """Whether a run for these words would find nothing to do; where this can't be said, the run finds out."""
    chosen = root / choose.FILE
    return (
        store.read_json(root / FOLDER / "inputs.json") == inputs(root)
        and store.read_json(root / FOLDER / "records.json") == records(root)
        and chosen.is_file()
        and chosen.read_text(encoding="utf-8") == choose.content(words)
        and stale(root) == []
    )


def stale(root: Path) -> list[str] | None:
    """Stages whose inputs or outputs changed since their last run; None if DVC can't say."""
    command = [sys.executable, "-m", "flows._dvc", "status", "--json"]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, encoding="utf-8", check=False)
    return changed(done.stdout) if done.returncode == 0 else None


def changed(status: str) -> list[str]:
    """The stages that `dvc status --json` calls changed, without those that are so because they always run."""
    stages = json.loads(status)
    return sorted(name for name, changes in stages.items() if changes != ["always changed"])


def _listing(paths: Iterator[Path] | Sequence[Path]) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of change of each file; a path that does not exist has none."""
    for path in paths:
        files = [path] if path.is_file() else []
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            files += [Path(folder, name) for name in sorted(names)]
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # SQLite's journal comes and goes
                state = file.stat(follow_symlinks=False)
                yield str(file), state.st_size, state.st_mtime_ns
