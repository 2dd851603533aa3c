"""Adds a folder to data/raw and to DVC: both or neither; nothing outside is moved or changed."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.child_commands import NO_TELEMETRY
from pipeline import store
from pipeline.errors import UserError
from pipeline.terminal import escape, name_fault

#: the copy and DVC's cache, in sizes of the folder, and the bytes that must remain free
COPIES, SPARE_BYTES = 2, 1_000_000_000


def add_to_dvc(source: Path, target: Path, root: Path) -> bool:
    """Copy the folder to data/raw unless it is there, and `dvc add` it; a failure leaves nothing behind.

    Returns whether all files were added: DVC can't store names that are no UTF-8, so these are not copied.
    """
    copied = source.resolve() != target.resolve()
    not_utf8 = next((file for file in source.rglob("*") if not _is_utf8(file.name)), None)
    if not_utf8 and not copied:
        raise UserError(
            f"{escape(not_utf8)}: {name_fault(not_utf8.name)}, and DVC can't store it. Rename or remove it."
        )
    dvc_file = target.with_name(f"{target.name}.dvc")
    is_new = not dvc_file.exists()
    ignore = target.with_name(".gitignore")
    ignored = ignore.read_bytes() if ignore.exists() else None
    try:
        if copied:
            _copy(source, target)
        dvc_add(target, root)
    except BaseException:
        if copied:
            shutil.rmtree(target, ignore_errors=True)
        if is_new:
            dvc_file.unlink(missing_ok=True)
        if ignored is not None:
            store.write_bytes(ignore, ignored)
        else:
            ignore.unlink(missing_ok=True)
        raise
    return not_utf8 is None


def _is_utf8(name: str) -> bool:
    return name.encode(errors="ignore").decode() == name


def dvc_add(target: Path, root: Path) -> None:
    """Run `dvc add`; UserError with DVC's reason if it fails.

    Raw files are copied to DVC's cache, not linked: people edit them, and through a hard link would change the cache.
    """
    # with --quiet it would not print why it failed
    command = [sys.executable, "-m", "dvc", "add", "--no-relink", str(target)]
    environment = {**os.environ, **NO_TELEMETRY}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        lines = done.stderr.replace("\r", "\n").splitlines()
        reasons = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
        reason = "\n".join(reasons) or done.stderr.strip() or f"its exit code is {done.returncode}"
        raise UserError(f"`dvc add {target}` failed, and nothing was added: {reason}")


def _copy(source: Path, target: Path) -> None:
    """Copy a folder atomically, links as they are; read-only files become writable."""
    size = sum(file.lstat().st_size for file in source.rglob("*"))
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < COPIES * size + SPARE_BYTES:
        what = f"{size:,} bytes are copied twice, here and into DVC's cache, but only {free:,} are free"
        raise UserError(f"{target.parent}: {what}. Make room.")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".add-", ignore_cleanup_errors=True) as folder:
        try:
            shutil.copytree(
                source,
                Path(folder, "copy"),
                symlinks=True,
                ignore=lambda _, names: [name for name in names if not _is_utf8(name)],
            )
        except OSError as error:
            raise UserError(f"{source}: can't be copied: {error}. Fix it, or copy it to {target} yourself.") from error
        for parent, _, files in os.walk(folder):
            for entry in (Path(parent), *(Path(parent, file) for file in files)):
                if not entry.is_symlink():
                    entry.chmod(entry.stat().st_mode | 0o600)
        os.replace(Path(folder, "copy"), target)
