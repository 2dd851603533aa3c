"""The checks of `convline doctor` around the project: those before a run, temporary files, proxies."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline import database, disk, params, preflight
from pipeline.errors import UserError

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def problems(root: Path) -> Iterator[tuple[str, str]]:
    """What `make repro` would refuse, and a full disk of temporary files; another check reads MLflow's file."""
    for check in preflight.BEFORE_REPRO:
        if check is not database.faults:
            yield from check(root)
    yield from _missing_folders(root)
    folder = Path(tempfile.gettempdir())
    if (left := shutil.disk_usage(folder).free) < disk.LEAST_BYTES:
        yield f"{folder}: {left:,} bytes are free for temporary files", "Make room there, or set TMPDIR to another."


def notes() -> Iterator[str]:
    """Unusual settings that are handled."""
    if preflight.is_temp_path_too_long():
        yield "TMPDIR is too long for Ray's sockets, which go to a folder below /tmp"
    proxies = [name for name in PROXIES if os.environ.get(name) or os.environ.get(name.upper())]
    if proxies:
        yield f"{', '.join(proxies)} set, and bypassed for services of this machine"


def _missing_folders(root: Path) -> Iterator[tuple[str, str]]:
    """Datasets whose folder is missing; where a .dvc file names it, a check of those before a run says so."""
    try:
        datasets = params.read(root / params.FILE, empty=True).datasets
    except UserError:  # a finding of another check
        return
    for name, dataset in datasets.items():
        path = root / (dataset.path or ".")
        if not path.exists() and not path.with_name(f"{path.name}.dvc").exists():
            remedy = f"Put its images there and `dvc add {dataset.path}`, or correct the path in {params.FILE}."
            yield f"datasets.{name}: {dataset.path} is missing", remedy
