"""What a project needs around it, looked at before any work: disks, git, whole files, images, a Ray that answers.

Each fault is what is wrong and its remedy. Nothing is changed by looking.
"""

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline import database, disk
from pipeline.errors import UserError

#: what is wrong, and the remedy
Faults = Iterator[tuple[str, str]]
Look = Callable[[Path], Faults]
MARKER = b"<<<<<<< "
#: files that git merges and the pipeline or DVC reads
MERGED = ("params.yaml", "dvc.yaml", "dvc.lock", ".dvc/config")
#: seconds that a cluster has to answer
PATIENCE_S = 10.0
#: Ray's sockets lie below its folder by a name of some 70 characters, and a socket's path has at most 107
LONGEST = 36


def git(root: Path) -> Faults:
    """DVC works in a git repository, unless it was told not to."""
    inside = any((folder / ".git").exists() for folder in (root, *root.absolute().parents))
    settings = ConfigParser(interpolation=None, strict=False)
    with contextlib.suppress(Exception):  # DVC says what is wrong with its own file
        settings.read([root / ".dvc/config", root / ".dvc/config.local"], encoding="utf-8")
    if not inside and settings.get("core", "no_scm", fallback="false").lower() != "true":
        yield f"{root}: is not in a git repository, which DVC needs", "Run `git init` there."


def conflicts(root: Path) -> Faults:
    """Files that git left half merged."""
    for path in [*(root / name for name in MERGED), *_notes(root)]:
        with contextlib.suppress(FileNotFoundError):
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                if line.startswith(MARKER):
                    remedy = "Choose the lines that shall stay and remove the markers."
                    if path.name == "dvc.lock":
                        remedy = "Take either side whole, as by `git checkout --ours dvc.lock`: a run mends the rest."
                    yield f"{path.relative_to(root)}:{number}: holds the markers of a merge conflict", remedy
                    break


def data(root: Path) -> Faults:
    """Images that a .dvc file names, and that are not here, as after `git clone`."""
    for note in _notes(root):
        for path, digest in _outputs(note):
            if not path.exists():
                kept = (root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).is_file()
                bring = f"`dvc {'checkout' if kept else 'pull'} {note.relative_to(root)}`"
                yield (
                    f"{path.relative_to(root)}: is not here, though {note.name} names it",
                    (f"Bring it by {bring}, or put the images there."),
                )


def ray(root: Path) -> Faults:
    """A cluster at RAY_ADDRESS that does not answer: Ray itself would try for ever."""
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "auto":  # Ray finds one that runs here, or takes the last that it noted
        noted = Path(_ray_folder() or "/tmp", "ray/ray_current_cluster")
        address = noted.read_text(encoding="utf-8").strip() if noted.is_file() else "local"
    if address in ("", "local"):
        return
    place = urlsplit(address if "://" in address else f"//{address}")
    remedy = "Start that cluster; or unset RAY_ADDRESS, and a run starts a Ray of its own."
    try:
        socket.create_connection((place.hostname or "", place.port or 0), timeout=PATIENCE_S).close()
    except (OSError, ValueError) as error:
        yield f"RAY_ADDRESS={address}: nothing answers there ({error})", remedy


#: what is looked at before the graph runs, also in a worktree that brings its own files, and before a folder is added
BEFORE_REPRO: tuple[Look, ...] = (disk.faults, git, conflicts, data, database.faults, ray)
BEFORE_RETRAIN: tuple[Look, ...] = (disk.faults, database.faults, ray)
BEFORE_ADD: tuple[Look, ...] = (disk.faults, git, conflicts)


def check(root: Path, looks: Sequence[Look]) -> None:
    """One UserError with all that is wrong."""
    found = [f"{what}. {remedy}" for look in looks for what, remedy in look(root)]
    if found:
        raise UserError("\n".join(found))


def _notes(root: Path) -> list[Path]:
    """The .dvc files below data/raw; folders that one names are not gone through."""
    found = []
    for folder, folders, files in os.walk(root / "data/raw"):
        folders[:] = [name for name in folders if f"{name}.dvc" not in files]
        found += [Path(folder, name) for name in files if name.endswith(".dvc")]
    return sorted(found)


def _outputs(note: Path) -> list[tuple[Path, str]]:
    """What a .dvc file names, with its digest; nothing where it can't be read, which DVC says better."""
    try:
        value = YAML(typ="safe", pure=True).load(note)
        return [
            (note.parent / value.get("wdir", ".") / each["path"], str(each.get("md5", ""))) for each in value["outs"]
        ]
    except (OSError, UnicodeDecodeError, YAMLError, TypeError, KeyError, AttributeError):
        return []


@contextlib.contextmanager
def short_folder() -> Iterator[str | None]:
    """A folder for Ray's sockets where the one that TMPDIR names is too long for them, as a batch job's is; else None.

    It is removed in the end.
    """
    if not is_long():
        yield None
        return
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_long() -> bool:
    """Whether the folder that the environment names for Ray is too long for its sockets."""
    return len(os.fsencode(_ray_folder())) > LONGEST


def _ray_folder() -> str:
    """The folder that the environment names for Ray's own; empty where it names none."""
    names = ("RAY_TMPDIR", "TMPDIR") if sys.platform == "linux" else ("RAY_TMPDIR",)
    return next((os.environ[name] for name in names if name in os.environ), "")
