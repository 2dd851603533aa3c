"""Members of zip and tar archives, one after the other and without unpacking; what could do harm is refused.

A member is never written to the disk, so that its path can't leave a folder; a link or a device has no bytes here.
"""

import contextlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.images import MAX_BYTES

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
#: of a member that is no image
MAX_TEXT_BYTES = 1_000_000
#: zeros with which a tar ends
END_BYTES = 1024


class ArchiveError(Exception):
    """Why an archive can't be read, and the remedy; the caller adds its name."""


@dataclass(frozen=True)
class Member:
    """A file in an archive; it can be read until the next one is asked for."""

    name: PurePosixPath
    size: int
    file: zipfile.ZipFile | tarfile.TarFile
    info: zipfile.ZipInfo | tarfile.TarInfo

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """Its bytes; ArchiveError if they are more than `limit`, whatever its header says."""
        with _reported(), self._opened() as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ArchiveError(f"{self.name}: more than {limit:,} bytes. Remove it from the archive.")
        return data

    def _opened(self) -> IO[bytes]:
        if isinstance(self.file, zipfile.ZipFile):
            assert isinstance(self.info, zipfile.ZipInfo)
            return self.file.open(self.info)
        assert isinstance(self.info, tarfile.TarInfo)
        file = self.file.extractfile(self.info)
        assert file is not None  # only of links and devices
        return file


def is_archive(name: PurePosixPath) -> bool:
    """Whether a file is named like an archive."""
    return name.name.lower().endswith(SUFFIXES)


def members(path: Path) -> Iterator[Member]:
    """The files of an archive in its order, without hidden ones; ArchiveError if it is damaged."""
    with _reported():
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as packed:
                for info in packed.infolist():
                    if not info.is_dir() and _is_shown(name := PurePosixPath(info.filename)):
                        yield Member(name, info.file_size, packed, info)
            return
        _check_end(path)
        with tarfile.open(path) as archive:
            for entry in archive:
                if entry.isfile() and _is_shown(name := PurePosixPath(entry.name)):
                    yield Member(name, entry.size, archive, entry)
                archive.members.clear()  # type: ignore[attr-defined]  # else it remembers each for good


def _check_end(path: Path) -> None:
    """ArchiveError if a plain tar has no end mark: tarfile takes one that was cut at any place for shorter."""
    if path.suffix.lower() == ".tar":
        with path.open("rb") as file:
            file.seek(-min(END_BYTES, path.stat().st_size), os.SEEK_END)
            if any(file.read()):
                raise ArchiveError("has no end mark, so that a part of it is missing. Fetch it again.")


def _is_shown(name: PurePosixPath) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise ArchiveError(f"is damaged ({error}). Fetch it again.") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile's for a password, or another compression
        raise ArchiveError(f"can't be unpacked ({error}). Pack it anew as a plain zip or tar.") from error
    except OSError as error:
        raise ArchiveError(f"can't be read ({error}). Check its permissions, or fetch it again.") from error
