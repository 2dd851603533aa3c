"""Makes project.tar.xz beside this file: a project of the version before `convline upgrade`, as its user left it.

    python -m tests.data.upgrade.make SCRATCH    # a folder; minutes

A clone at COMMIT: sixty made images are added by `convline add`, params.yaml is edited by hand, and a job is trained
twice, the second time with another learning rate, which gives a champion. The archive holds what the user changed and
what Git does not hold, without caches. PLACEHOLDER stands in place of the folder.
"""

import argparse
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.kills import REPO, clone

#: the commit that the project was made with, and what its files call its folder
COMMIT, PLACEHOLDER = "0c6ee7f2a6098907c344af198b75b449624f7c6d", "/convline-project"
ARCHIVE = Path(__file__).parent / "project.tar.xz"
CLASSES, IMAGES, SIDE = ("oval", "square", "triangle"), 20, 24
#: what can be made again: the environment, caches, locks and logs, and the prepared sets that no trained job is of
LEFT_OUT = (
    ".venv",
    ".dvc/cache",
    ".dvc/tmp",
    ".work/add",
    ".work/logs",
    ".work/prefect",
    ".work/prepare",
    ".work/ray",
    ".work/stages",
    "data/prepared/digits",
    "data/prepared/scenes",
    "data/prepared/single",
)
#: edits of params.yaml by hand: a job of one's own, a shipped job, and settings
OWN_JOB = """
  # My first job.
  leaves-linear:
    core: true
    task: classification
    architecture: linear
    dataset: leaves
    size: 16
    epochs: 8
    batch: 8
    lr: 0.001
"""
EDITS = (
    ("roster: core", "roster: [leaves-linear]"),
    ("    epochs: 24\n    batch: 32\n    lr: 0.02", "    epochs: 30  # longer\n    batch: 32\n    lr: 0.02"),
    ("\n  leaves-lenet5:", f"{OWN_JOB}\n  leaves-lenet5:"),
    ("attempts: 3}", "attempts: 3, lanes: 1}"),
)
LATER = ("lr: 0.001\n\n  leaves-lenet5", "lr: 0.01\n\n  leaves-lenet5")
QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_OVERRIDE_RESOURCES": '{"CPU": 1}',
    "OMP_NUM_THREADS": "1",
}


def main() -> int:
    """Make the project unless SCRATCH has it, and pack it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", metavar="SCRATCH", type=Path)
    scratch = parser.parse_args().scratch.resolve()
    folder = scratch / "project"
    if not folder.exists():
        unfinished = scratch / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        scratch.mkdir(parents=True, exist_ok=True)
        clone(folder, COMMIT)
        try:
            use(folder, scratch)
        except BaseException:
            folder.rename(unfinished)
            raise
    pack(folder, scratch / "packed")
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size / 1e6:.2f} MB")
    return 0


def draw(folder: Path) -> None:
    """Sixty images of three shapes, a folder a class."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(IMAGES):
            image = Image.fromarray(rng.integers(60, 110, (SIDE, SIDE, 3), dtype=np.uint8))
            x, y, side = (int(value) for value in rng.integers((2, 2, 9), (8, 8, 14)))
            color, pen = tuple(int(value) for value in rng.integers(150, 255, 3)), ImageDraw.Draw(image)
            if name == "oval":
                pen.ellipse((x, y, x + side, y + side), color)
            elif name == "square":
                pen.rectangle((x, y, x + side, y + side), color)
            else:
                pen.polygon(((x, y + side), (x + side, y + side), (x + side // 2, y)), color)
            image.save(folder / name / f"{number:02}.png")


def use(folder: Path, scratch: Path) -> None:
    """What the user did."""
    shutil.rmtree(scratch / "leaves", ignore_errors=True)
    draw(scratch / "leaves")
    run(folder, "convline", "add", str(scratch / "leaves"))
    for old, new in EDITS:
        replace_once(folder / "params.yaml", old, new)
    run(folder, "flows.repro")
    replace_once(folder / "params.yaml", *LATER)
    run(folder, "flows.repro")


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise SystemExit(f"{path}: {old!r} is there {text.count(old)} times")
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(folder: Path, module: str, *words: str) -> str:
    """Run a module of the project, on a Ray of its own; returns what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONVLINE", "MAKE", "RAY"))}
    with tempfile.TemporaryDirectory(prefix="up-", dir="/tmp") as ray:
        path = f"{folder / '.venv/bin'}{os.pathsep}{kept['PATH']}"
        environment = {**kept, **QUIET, "RAY_TMPDIR": ray, "PATH": path}
        command = [str(folder / ".venv/bin/python"), "-m", module, *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return f"{done.stdout}\n{done.stderr}"


def pack(folder: Path, packed: Path) -> None:
    """Write the archive of all that Git does not hold of COMMIT, with PLACEHOLDER for the folder."""
    shutil.rmtree(packed, ignore_errors=True)
    for name in not_in_git(folder):
        if not name.startswith(LEFT_OUT) and "__pycache__" not in name and (folder / name).is_file():
            (packed / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, packed / name)
            for path in (folder, REPO):
                replace_folder(packed / name, path)
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        for path in sorted(packed.rglob("*")):
            archive.add(path, path.relative_to(packed).as_posix(), recursive=False, filter=nobody)


def not_in_git(folder: Path) -> list[str]:
    """Files that are not as in the commit, below the clone."""
    command = ["git", "ls-files", "-z", "--others", "--modified"]
    listed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in listed.split("\0") if name)


def nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry without the names of this machine's user."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def replace_folder(path: Path, folder: Path) -> None:
    """Write PLACEHOLDER in place of the folder; SystemExit for a binary file that names it."""
    old, new = str(folder), PLACEHOLDER
    content = path.read_bytes()
    if path.suffix == ".db":
        replace_in_database(path, old, new)
    elif old.encode() in content:
        try:
            path.write_text(content.decode().replace(old, new), encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SystemExit(f"{path}: is no text, and names {old}") from error
    if old.encode() in path.read_bytes():
        raise SystemExit(f"{path}: names {old}")


def replace_in_database(path: Path, old: str, new: str) -> None:
    """Replace a text in all columns of a database, and what is left of it in free pages."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for (column,) in database.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
                setting = f'"{column}" = replace("{column}", ?, ?)'
                database.execute(f'UPDATE "{table}" SET {setting} WHERE typeof("{column}") = \'text\'', (old, new))
        database.commit()
        database.execute("VACUUM")


if __name__ == "__main__":
    sys.exit(main())
