"""Atomic, verified storage: a stored file or folder is either complete and verified, or absent.

Everything is written under a temporary name, synced and renamed; a folder carries `manifest.json`
with the size and sha256 of each file and the fingerprint of what made it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.errors import UserError

MANIFEST = "manifest.json"
#: names of temporary files and folders
TEMPORARY = ".*.*"
#: seconds for which a lock is retried, because another process may be checking it
RETRY_S = 0.5


class StoreError(UserError):
    """A stored folder is missing, incomplete or damaged; names the file."""


def canonical(value: Any) -> bytes:
    """JSON bytes that are equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """sha256 of a JSON value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with _opened(path) as descriptor:
        os.fsync(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        error.filename = str(path)  # a full disk's error names none
        raise
    _sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, readable by people and equal for equal values."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def read_json(path: Path, default: Any = None) -> Any:
    """A JSON file's value, or `default` where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise StoreError(f"{path}: damaged JSON ({error}). Delete the file and run again.") from error


@contextlib.contextmanager
def folder(path: Path, fingerprint: str) -> Iterator[Path]:
    """A folder to fill: `path` is made, with its manifest, only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path) as made:
        yield made
        files = {}
        for file in sorted(item for item in made.rglob("*") if item.is_file()):
            _sync(file)
            name = file.relative_to(made).as_posix()
            files[name] = {"size": file.stat().st_size, "sha256": file_digest(file)}
        write_json(made / MANIFEST, {"fingerprint": fingerprint, "files": files})
        made.chmod(0o755)
        replace(made, path)


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A folder beside `path` to fill and rename. It is locked, so that `sweep` sees that its maker lives."""
    sweep(path.parent)
    while True:  # until no other process swept it before it was locked
        made = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            descriptor = os.open(made, os.O_RDONLY)
        except FileNotFoundError:
            continue
        with contextlib.suppress(OSError):  # of a file system without locks on folders; there nothing is swept
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if made.exists():
            break
        os.close(descriptor)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sweep(parent: Path) -> None:
    """Remove the temporary folders that dead processes left here."""
    for path in parent.glob(TEMPORARY):
        with contextlib.suppress(OSError), _opened(path) as descriptor:
            if path.is_dir():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)


def replace(source: Path, target: Path) -> None:
    """Move a folder to where another may stand; at every moment one of the two is whole."""
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)  # of a process with this number that died here
        os.replace(target, old)
    os.replace(source, target)
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def manifest(path: Path) -> dict[str, Any]:
    """The manifest of a stored folder, unverified; StoreError where there is none."""
    value = read_json(path / MANIFEST)
    if value is None:
        raise StoreError(f"{path}: no {MANIFEST}; the folder is incomplete. Run `make repro` to make it again.")
    if not isinstance(value, dict) or value.keys() != {"fingerprint", "files"} or not isinstance(value["files"], dict):
        raise StoreError(f"{path / MANIFEST}: damaged. Delete {path} and run again.")
    return value


def content_digest(path: Path) -> str:
    """One digest of all that a stored folder holds, from its manifest."""
    return digest(manifest(path)["files"])


def verify(path: Path, kept: Path | None = None) -> dict[str, Any]:
    """The manifest, after comparing every file's size and sha256; StoreError naming a file that differs.

    kept: a copy, to whose whole files those of the folder become links.
    """
    value = manifest(path)
    for name, expected in value["files"].items():
        file = path / name
        if not file.is_file():
            raise StoreError(f"{file}: missing, though {MANIFEST} lists it. Delete {path} and run again.")
        if not (kept and _links(file, kept / name, expected)) and not _is(file, expected):
            raise StoreError(f"{file}: its content has changed since it was written. Delete {path} and run again.")
    return value


def _is(file: Path, expected: dict[str, Any]) -> bool:
    return {"size": file.stat().st_size, "sha256": file_digest(file)} == expected


def holds(path: Path, fingerprint: str, kept: Path | None = None) -> bool:
    """Whether a folder was made for this fingerprint and is undamaged."""
    try:
        return bool(manifest(path)["fingerprint"] == fingerprint and verify(path, kept))
    except StoreError:
        return False


def copy(source: Path, target: Path) -> None:
    """Copy a stored folder, by hard links if the file system allows."""

    def link(old: str, new: str) -> None:
        try:
            os.link(old, new)
        except OSError:
            shutil.copy2(old, new)

    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary(target) as made:
        made.chmod(0o755)
        shutil.copytree(source, made, dirs_exist_ok=True, copy_function=link)
        replace(made, target)


def update(target: Path, fingerprint: str, kept: Path, make: Callable[[Path], None]) -> str:
    """Bring `target` to this fingerprint with the least work, and keep a second copy in `kept`.

    Returns `kept` (nothing to do), `restored` (copied from `kept`) or `made`.
    """
    sweep(kept)
    kept = kept / fingerprint
    if holds(target, fingerprint, kept):
        if not kept.exists():
            copy(target, kept)
        return "kept"
    if holds(kept, fingerprint):
        os.utime(kept)
        copy(kept, target)
        return "restored"
    with folder(kept, fingerprint) as path:
        make(path)
    copy(kept, target)
    return "made"


def _links(file: Path, kept: Path, expected: dict[str, Any]) -> bool:
    """Replace a copy, as DVC makes them of links, by a link to a whole kept file; False if it was one, or can't be."""
    link = file.with_name(f".{file.name}.link")
    with contextlib.suppress(OSError):  # no such file, or a disk without links, or another one
        if not kept.samefile(file) and _is(kept, expected):
            link.unlink(missing_ok=True)  # of a process that was killed here
            os.link(kept, link)
            os.replace(link, file)
            return True
    return False


def keep_only(parent: Path, wanted: set[str]) -> list[str]:
    """Remove the folders that are not wanted, and those of dead processes; returns the removed names."""
    for path in parent.glob(TEMPORARY):
        if path.is_file():
            path.unlink()
    gone = [path for path in parent.glob("*") if path.is_dir() and path.name not in wanted] if parent.is_dir() else []
    for path in gone:
        shutil.rmtree(path)
    return sorted(path.name for path in gone)


def bound(parent: Path, limit_bytes: int, wanted: set[str]) -> None:
    """Remove the least recently used folders until `parent` fits; those in `wanted` stay."""
    if not parent.is_dir():
        return
    sizes = {}
    for path in parent.iterdir():
        if path.is_dir():
            sizes[path] = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    total = sum(sizes.values())
    for path in sorted(sizes, key=lambda item: item.stat().st_mtime):
        if total <= limit_bytes:
            return
        if path.name not in wanted:
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]


def held(path: Path) -> bool:
    """Whether a living process holds this lock."""
    try:
        with path.open() as file:
            return not _taken(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock that dies with this process; UserError where another process holds it (unless `wait`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        last = time.monotonic() + RETRY_S
        while not _taken(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)):
            if time.monotonic() > last:
                raise UserError(f"{path}: {what} is already running. Wait for it to end, or stop it.")
            time.sleep(RETRY_S / 10)
        yield


def _taken(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    return True
