"""What a disk refuses is one sentence, whichever library tells it; a real full and a real read-only disk among them."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import disk, store
from pipeline.errors import UserError

ROOT = Path(__file__).parents[1]


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/a.json"), r"/tmp/a\.json: the disk is full \([\d,]+ b"),
        (OSError(errno.ENOSPC, "Error writing bytes to file"), r": the disk is full \([\d,]+ bytes free\)\. Make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/tmp/a"), "/tmp/a: your quota of the disk is used up"),
        (OSError(errno.EROFS, "Read-only file system", "/tmp/a"), "/tmp/a: is on a disk that is mounted read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/tmp/a"), "/tmp/a: you may not read or write it"),
        (RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534"), "the disk is full"),
        (ValueError("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
        (caused(ValueError("of MLflow"), ValueError("database or disk is full")), "the disk is full"),
        (ValueError("(sqlite3.OperationalError) attempt to write a readonly database"), "is mounted read-only"),
    ],
)
def test_it_is_one_sentence_with_the_remedy(error: Exception, message: str) -> None:
    with pytest.raises(disk.DiskError, match=message), disk.translate_errors():
        raise error


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "gone", "/tmp/a"), UserError("y")])
def test_all_else_stays_what_it_is(error: Exception) -> None:
    assert disk.disk_error(error) is None
    with pytest.raises(type(error)) as caught, disk.translate_errors():
        raise error
    assert caught.value is error


def test_a_file_that_can_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(disk.DiskError, match=r"x\.json: the disk is full"), disk.translate_errors():
        store.write_json(tmp_path / "x.json", 1)
    assert not list(tmp_path.iterdir())


def mounted(folder: Path, how: str, code: str) -> str:
    """What a Python program says in a mount namespace where `folder` is another disk; skips where root is needed."""
    script = f"mount {how} {folder} && {sys.executable} -c '{code}'"
    command = ["unshare", "-m", "bash", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "permitted" in done.stderr or "must be superuser" in done.stderr or "denied" in done.stderr:
        pytest.skip("needs root, to mount a disk")
    return done.stdout + done.stderr


LOOK = (
    "from pathlib import Path; from pipeline import disk, store\n"
    'place = Path("{folder}")\n'
    "print(list(disk.faults(place)))\n"
    "with disk.translate_errors():\n"
    '    store.write_bytes(place / "big", b"x" * 10**6)\n'
)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
@pytest.mark.parametrize(
    ("how", "known", "told"),
    [
        ("-t tmpfs -o size=64k tmpfs", "bytes are free on its disk", "big: the disk is full (65,536 bytes free)"),
        ("-t tmpfs -o ro tmpfs", "can't be written to", "is on a disk that is mounted read-only"),
    ],
)
def test_a_real_disk(tmp_path: Path, how: str, known: str, told: str) -> None:
    said = mounted(tmp_path, how, LOOK.format(folder=tmp_path))
    assert known in said.splitlines()[0]
    assert told in said.splitlines()[-1]
    assert not list(tmp_path.iterdir())
