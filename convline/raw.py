"""A folder into data/raw and DVC: both or neither, and nothing outside is moved or changed."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flows._commands import QUIET
from pipeline import store
from pipeline.errors import UserError
from pipeline.terminal import shown, unfit

#: of DVC's cache and the copy, in sizes of the folder, and what shall be left
COPIES, SPARE_BYTES = 2, 1_000_000_000


def take(source: Path, target: Path, root: Path) -> bool:
    """Copy the folder to data/raw unless it is there, and `dvc add` it; what fails is undone.

    Returns whether all of it was taken: DVC can't keep names that are no UTF-8, so these are not copied.
    """
    copied = source.resolve() != target.resolve()
    odd = next((file for file in source.rglob("*") if not _kept(file.name)), None)
    if odd and not copied:
        raise UserError(f"{shown(odd)}: {unfit(odd.name)}, and DVC can't keep it. Rename or remove it.")
    note = target.with_name(f"{target.name}.dvc")
    fresh = not note.exists()
    ignore = target.with_name(".gitignore")
    ignored = ignore.read_bytes() if ignore.exists() else None
    try:
        if copied:
            _copy(source, target)
        _track(target, root)
    except BaseException:
        if copied:
            shutil.rmtree(target, ignore_errors=True)
        if fresh:
            note.unlink(missing_ok=True)
        if ignored is not None:
            store.write_bytes(ignore, ignored)
        else:
            ignore.unlink(missing_ok=True)
        raise
    return odd is None


def _kept(name: str) -> bool:
    return name.encode(errors="ignore").decode() == name


def _track(target: Path, root: Path) -> None:
    command = [sys.executable, "-m", "dvc", "add", str(target)]  # with --quiet it would not say why it failed
    environment = {**os.environ, **QUIET}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        lines = done.stderr.replace("\r", "\n").splitlines()
        reasons = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
        reason = "\n".join(reasons) or done.stderr.strip() or f"its exit code is {done.returncode}"
        raise UserError(f"`dvc add {target}` failed, and nothing was added: {reason}")


def _copy(source: Path, target: Path) -> None:
    """A copy that is there whole or not at all, links as they are; what may only be read may then be written."""
    size = sum(file.lstat().st_size for file in source.rglob("*"))
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < COPIES * size + SPARE_BYTES:
        raise UserError(
            f"{target.parent}: {size:,} bytes are to be copied, and again into DVC's cache; {free:,} are free."
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".add-", ignore_cleanup_errors=True) as folder:
        try:
            shutil.copytree(
                source,
                Path(folder, "copy"),
                symlinks=True,
                ignore=lambda _, names: [name for name in names if not _kept(name)],
            )
        except OSError as error:
            raise UserError(f"{source}: can't be copied: {error}. Mend it, or copy it to {target} yourself.") from error
        for place, _, files in os.walk(folder):
            for entry in (Path(place), *(Path(place, file) for file in files)):
                if not entry.is_symlink():
                    entry.chmod(entry.stat().st_mode | 0o600)
        os.replace(Path(folder, "copy"), target)
