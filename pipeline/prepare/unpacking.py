"""An archive as a data set: for any format that reads folders it is unpacked while prepare reads it, and no longer.

The data set's path names a zip or tar, or a folder that holds one and nothing else. The format `webdataset` reads
archives itself.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline import store
from pipeline.errors import UserError
from pipeline.prepare.formats.parts.archives import ArchiveError, is_archive, members
from pipeline.prepare.formats.parts.files import MAX_DEPTH, alike
from pipeline.prepare.formats.parts.objects import split_of
from pipeline.terminal import name_fault

#: what stays free on the disk
SPARE_BYTES = 1_000_000_000


@contextlib.contextmanager
def unpacked(source: Path | None, beside: Path) -> Iterator[Path | None]:
    """The folder that a format reads, while the block runs: `source`, or what its archive holds.

    beside: a folder, on the disk that an archive is unpacked to.
    """
    archive = None if source is None else archive_of(source)
    if archive is None:
        yield source
        return
    beside.mkdir(parents=True, exist_ok=True)
    with store.temporary(beside / "archive") as made:
        try:
            unpack(archive, made)
        except ArchiveError as error:
            raise UserError(f"{archive}: {error}") from error
        inner = _inner(made).resolve()
        try:
            yield inner
        except UserError as error:  # names what the user has
            raise UserError(str(error).replace(str(inner), str(archive))) from error


def archive_of(source: Path) -> Path | None:
    """The archive that a path names, or that its folder holds beside hidden files alone; None if there is none."""
    if not source.is_dir():
        return source if is_archive(PurePosixPath(source.name)) and source.is_file() else None
    shown = [entry for entry in source.iterdir() if not entry.name.startswith(".")]
    return archive_of(shown[0]) if len(shown) == 1 and not shown[0].is_dir() else None


def unpack(archive: Path, folder: Path) -> None:
    """Write the members of an archive into a folder; ArchiveError for what is damaged, unsafe or too large."""
    spellings: dict[str, PurePosixPath] = {}
    for member in members(archive):
        name = member.name
        if name.is_absolute() or ".." in name.parts or len(name.parts) > MAX_DEPTH:
            raise ArchiveError(f"{name}: leaves the archive, or lies too deep in it. Pack it anew.")
        if why := next((why for part in name.parts if (why := name_fault(part))), None):
            raise ArchiveError(f"{name}: {why}. Rename it, and pack it anew.")
        if spellings.setdefault(alike(str(name)), name) != name or (folder / name).exists():
            twin = spellings[alike(str(name))]
            raise ArchiveError(f"{name}: is there twice, also as {twin}, for systems that merge them. Rename one.")
        if shutil.disk_usage(folder).free < member.size + SPARE_BYTES:
            raise ArchiveError(f"needs more room while it is read than {folder.parent} has. Make room.")
        data = member.read()
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except (FileExistsError, NotADirectoryError) as error:
            raise ArchiveError(f"{name}: is a file and a folder. Pack it anew.") from error


def _inner(folder: Path) -> Path:
    """The folder, or the only one in it, in which archives are often packed; one that is named like a split counts."""
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and split_of(PurePosixPath(entries[0].name)) is None:
        return _inner(entries[0])
    return folder
