"""Errors of a full or read-only disk as one message that names the path, the free bytes, and the remedy.

Libraries report such a disk in many ways, often as the cause of an error of their own.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import UserError

#: folders that the project writes to, relative to its root
FOLDERS = (".", ".work", ".dvc", "data", "models", "metrics", "evaluations", "reports", "mlruns")
#: with less free space no run starts: DVC, Ray and MLflow write some themselves
LEAST_BYTES = 100_000_000
#: texts of errors without a number, by pyarrow, safetensors, SQLite and torch
TEXTS = {
    "No space left on device": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "PytorchStreamWriter failed writing": errno.ENOSPC,
    "unexpected pos": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "attempt to write a readonly database": errno.EROFS,
}
RESUMES = "then run again: the run resumes."


class DiskError(UserError):
    """The disk is full, read-only or not permitted; the same may work later."""


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise errors that a disk caused as DiskError, and all others unchanged."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        translated = disk_error(error)
        if translated is None:
            raise
        raise translated from error


def disk_error(error: BaseException) -> DiskError | None:
    """The DiskError for an error that a disk caused; None for any other."""
    link: BaseException | None = error
    while link is not None:
        number, name = _number(link), getattr(link, "filename", None)
        if number is not None:
            return DiskError(_message(number, Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None))
        link = link.__cause__ or link.__context__
    return None


def _number(error: BaseException) -> int | None:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return int(number)
    if number in (errno.EACCES, errno.EPERM) and getattr(error, "filename", None) is not None:
        return int(number)
    text = str(error)
    return next((code for part, code in TEXTS.items() if part in text), None)


def _message(number: int, path: Path | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        path = path or min(folders(), key=free)
        what = "the disk is full" if number == errno.ENOSPC else "your quota of the disk is used up"
        return f"{path}: {what} ({free(path):,} bytes free). Make room, {RESUMES}"
    if number == errno.EROFS:
        path = path or next((folder for folder in folders() if not os.access(folder, os.W_OK)), Path.cwd())
        return f"{path}: is on a disk that is mounted read-only. Mount it writable, or copy the project elsewhere."
    return f"{path}: you may not read or write it. Set its owner or permissions (chown, chmod), {RESUMES}"


def folders(root: Path | None = None) -> list[Path]:
    """The existing folders that the project writes to."""
    start = root or Path.cwd()
    return [start / name for name in FOLDERS if (start / name).is_dir()]


def free(path: Path) -> int:
    """Free bytes on the disk of a path, which need not exist."""
    existing = next((each for each in (path, *path.absolute().parents) if each.exists()), Path("/"))
    return shutil.disk_usage(existing).free


def faults(root: Path) -> Iterator[tuple[str, str]]:
    """Per disk, the problem that would stop a run here, and its remedy."""
    reported = set[int]()
    for folder in folders(root):
        device = folder.stat().st_dev
        if device in reported:
            continue
        if not os.access(folder, os.W_OK):
            remedy = "Mount its disk writable, give yourself the right to write there, or copy the project elsewhere."
            yield f"{folder}: can't be written to", remedy
        elif (left := free(folder)) < LEAST_BYTES:
            yield f"{folder}: {left:,} bytes are free on its disk, and {LEAST_BYTES:,} are needed", "Make room there."
        else:
            continue
        reported.add(device)
