"""Checks before a run: disks, git, merge conflicts, params.yaml, images, MLflow's database, the Ray cluster.

A check yields problems, each with its remedy, and changes nothing.
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
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline import database, disk
from pipeline.errors import UserError

#: problems, each with its remedy
Problems = Iterator[tuple[str, str]]
Check = Callable[[Path], Problems]
MARKER = b"<<<<<<< "
#: files that git merges and the pipeline or DVC reads
MERGED = ("params.yaml", "dvc.yaml", "dvc.lock", ".dvc/config")
#: seconds in which a cluster must answer
TIMEOUT_S = 10.0
#: longest folder for Ray, in bytes: its sockets' names add some 70, and a socket's path has at most 107
MAX_RAY_FOLDER = 36


def git(root: Path) -> Problems:
    """DVC needs a git repository, unless its setting `core.no_scm` is true."""
    inside = any((folder / ".git").exists() for folder in (root, *root.absolute().parents))
    settings = ConfigParser(interpolation=None, strict=False)
    with contextlib.suppress(Exception):  # DVC itself reports a damaged settings file
        settings.read([root / ".dvc/config", root / ".dvc/config.local"], encoding="utf-8")
    if not inside and settings.get("core", "no_scm", fallback="false").lower() != "true":
        yield f"{root}: is not in a git repository, which DVC needs", "Run `git init` there."


def conflicts(root: Path) -> Problems:
    """Files with markers of a merge conflict."""
    for path in [*(root / name for name in MERGED), *_dvc_files(root)]:
        with contextlib.suppress(FileNotFoundError):
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                if line.startswith(MARKER):
                    remedy = "Choose the lines to keep and remove the markers."
                    if path.name == "dvc.lock":
                        remedy = (
                            "Take either side whole, as by `git checkout --ours dvc.lock`: a run makes the rest again."
                        )
                    yield f"{path.relative_to(root)}:{number}: has markers of a merge conflict", remedy
                    break


def sections(root: Path) -> Problems:
    """Sections that dvc.yaml names and params.yaml lacks: DVC requires them, even empty."""
    graph, written = _yaml(root / "dvc.yaml"), _yaml(root / "params.yaml")
    if isinstance(graph, dict) and isinstance(written, dict):
        named = {name: None for stage in graph.get("stages", {}).values() for name in stage.get("params", [])}
        missing = [str(name) for name in named if name not in written]
        if missing:
            remedy = f"Add {' and '.join(f'`{name}: {{}}`' for name in missing)}."
            yield f"params.yaml: sections that dvc.yaml names are missing: {', '.join(missing)}", remedy


def links(root: Path) -> Problems:
    """A folder of raw images that is a symbolic link, which DVC does not follow."""
    for name in ("data", "data/raw"):
        if (root / name).is_symlink():
            remedy = "Mount that disk here (`mount --bind`), or move only DVC's cache to it: `dvc cache dir FOLDER`."
            yield f"{name}: is a symbolic link, and DVC adds no files behind links", remedy


def data(root: Path) -> Problems:
    """Images that a .dvc file names and that are missing, as after `git clone`."""
    for dvc_file in _dvc_files(root):
        for path, digest in _outputs(dvc_file):
            if not path.exists():
                cached = (root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).is_file()
                command = f"`dvc {'checkout' if cached else 'pull'} {dvc_file.relative_to(root)}`"
                what = f"{path.relative_to(root)}: is missing, though {dvc_file.name} names it"
                yield what, f"Run {command}, or put the images there."


def ray(root: Path) -> Problems:
    """A cluster at RAY_ADDRESS that does not answer: Ray itself would retry for ever."""
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "auto":  # Ray finds one that runs here, or takes the last one it wrote down
        written = Path(_ray_folder() or "/tmp", "ray/ray_current_cluster")
        address = written.read_text(encoding="utf-8").strip() if written.is_file() else "local"
    if address in ("", "local"):
        return
    url = urlsplit(address if "://" in address else f"//{address}")
    remedy = "Start that cluster; or unset RAY_ADDRESS, and a run starts a Ray of its own."
    try:
        socket.create_connection((url.hostname or "", url.port or 0), timeout=TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        yield f"RAY_ADDRESS={address}: nothing answers there ({error})", remedy


#: checks before the graph runs, before retrain makes its own worktree, and before a folder is added
BEFORE_REPRO: tuple[Check, ...] = (disk.faults, git, conflicts, sections, data, database.faults, ray)
BEFORE_RETRAIN: tuple[Check, ...] = (disk.faults, database.faults, ray)
BEFORE_ADD: tuple[Check, ...] = (disk.faults, git, conflicts, links)


def check(root: Path, checks: Sequence[Check]) -> None:
    """Make these checks; one UserError with all problems."""
    problems = [f"{what}. {remedy}" for each in checks for what, remedy in each(root)]
    if problems:
        raise UserError("\n".join(problems))


def _dvc_files(root: Path) -> list[Path]:
    """The .dvc files below data/raw; does not descend into folders that one of them names."""
    paths = []
    for folder, folders, files in os.walk(root / "data/raw"):
        folders[:] = [name for name in folders if f"{name}.dvc" not in files]
        paths += [Path(folder, name) for name in files if name.endswith(".dvc")]
    return sorted(paths)


def _outputs(dvc_file: Path) -> list[tuple[Path, str]]:
    """The paths that a .dvc file names, with digests; empty if it can't be read, which DVC reports."""
    try:
        value = _yaml(dvc_file)
        return [
            (dvc_file.parent / value.get("wdir", ".") / each["path"], str(each.get("md5", "")))
            for each in value["outs"]
        ]
    except (TypeError, KeyError, AttributeError):
        return []


def _yaml(path: Path) -> Any:
    """The values of a YAML file; None if it can't be read, which its own reader reports."""
    try:
        return YAML(typ="safe", pure=True).load(path)
    except (OSError, UnicodeDecodeError, YAMLError):
        return None


@contextlib.contextmanager
def short_temp_folder() -> Iterator[str | None]:
    """A temporary folder for Ray's sockets if TMPDIR is too long for them, as in batch jobs; else None."""
    if not is_temp_path_too_long():
        yield None
        return
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    before = {name: os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR")}
    os.environ.update(dict.fromkeys(before, folder))  # Ray's own processes read them too
    try:
        yield folder
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})
        shutil.rmtree(folder, ignore_errors=True)


def is_temp_path_too_long() -> bool:
    """Whether the folder that the environment names for Ray is too long for its sockets."""
    return len(os.fsencode(_ray_folder())) > MAX_RAY_FOLDER


def _ray_folder() -> str:
    """The folder that the environment names for Ray; empty if it names none."""
    names = ("RAY_TMPDIR", "TMPDIR") if sys.platform == "linux" else ("RAY_TMPDIR",)
    return next((os.environ[name] for name in names if name in os.environ), "")
