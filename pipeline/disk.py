"""What a disk refuses, as one message that names the place, the bytes that are free there, and the remedy.

Libraries tell of a full or read-only disk in many ways, often as the cause of an error of their own.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import UserError

#: where the project writes, from its root
PLACES = (".", ".work", ".dvc", "data", "models", "metrics", "evaluations", "reports", "mlruns")
#: below this nothing is begun: DVC, Ray and MLflow write some themselves
LEAST_BYTES = 100_000_000
#: what libraries say where their error carries no number: pyarrow, safetensors, SQLite, torch
SAYINGS = {
    "No space left on device": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "PytorchStreamWriter failed writing": errno.ENOSPC,
    "unexpected pos": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "attempt to write a readonly database": errno.EROFS,
}
RESUMES = "then run again: it goes on where it stood."


class DiskError(UserError):
    """The disk refuses; the same may work later."""


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn what a disk refuses into a DiskError; all else passes as it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = refusal(error)
        if told is None:
            raise
        raise told from error


def refusal(error: BaseException) -> DiskError | None:
    """The message for an error that a disk is the cause of; None for any other."""
    link: BaseException | None = error
    while link is not None:
        number, name = _number(link), getattr(link, "filename", None)
        if number is not None:
            return DiskError(_sentence(number, Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None))
        link = link.__cause__ or link.__context__
    return None


def _number(error: BaseException) -> int | None:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return int(number)
    if number in (errno.EACCES, errno.EPERM) and getattr(error, "filename", None) is not None:
        return int(number)
    text = str(error)
    return next((found for saying, found in SAYINGS.items() if saying in text), None)


def _sentence(number: int, path: Path | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        path = path or min(places(), key=free)
        what = "the disk is full" if number == errno.ENOSPC else "your quota of the disk is used up"
        return f"{path}: {what} ({free(path):,} bytes free). Make room, {RESUMES}"
    if number == errno.EROFS:
        place = path or next((place for place in places() if not os.access(place, os.W_OK)), Path.cwd())
        return f"{place}: is on a disk that is mounted read-only. Mount it writable, or copy the project elsewhere."
    return f"{path}: may not be read or written by you. Set its owner or permissions (chown, chmod), {RESUMES}"


def places(root: Path | None = None) -> list[Path]:
    """The folders that the project writes to, as far as they are there."""
    start = root or Path.cwd()
    return [start / name for name in PLACES if (start / name).is_dir()]


def free(path: Path) -> int:
    """Bytes that are free on the disk of a path, which itself need not be there."""
    found = next((place for place in (path, *path.absolute().parents) if place.exists()), Path("/"))
    return shutil.disk_usage(found).free


def faults(root: Path) -> Iterator[tuple[str, str]]:
    """What would stop a run here, and its remedy, once a disk."""
    told = set[int]()
    for place in places(root):
        device = place.stat().st_dev
        if device in told:
            continue
        if not os.access(place, os.W_OK):
            remedy = "Mount its disk writable, give yourself the right to write there, or copy the project elsewhere."
            yield f"{place}: can't be written to", remedy
        elif (left := free(place)) < LEAST_BYTES:
            yield f"{place}: {left:,} bytes are free on its disk, and {LEAST_BYTES:,} are needed", "Make room there."
        else:
            continue
        told.add(device)
