"""What was measured of images, as records of one size that later runs take over by the sha256 of the image's file.

`measured-<rules>.bin` of a prepared dataset holds those of its images, sorted. So an image whose bytes are unchanged is
not decoded again, and keeps its digest, and with it its split, under another version of Pillow. A run that has not
ended leaves a journal, from which the next one goes on. A record that is damaged is not used.
"""

import bisect
import contextlib
import mmap
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

import numpy as np

from pipeline import store
from pipeline.params import Dataset
from pipeline.prepare.traits import Traits

#: raised when another digest or hash is measured of an image than before, or other images are refused
VERSION = 2
#: file, pixels, look, whether it means something, kept, height, width, moments
LAYOUT = Struct("<32s32s16s??II9q")
CHECK = Struct("<I")
SIZE = LAYOUT.size + CHECK.size
KEY = 32
NO_FILE = b"\0" * KEY


@dataclass(frozen=True, slots=True)
class Measured:
    """file: sha256 of the image's file, zeros if it has none · kept: whether its bytes are stored as they came ·
    height, width: of the decoded image.
    """

    file: bytes
    kept: bool
    height: int
    width: int
    traits: Traits


def pack(image: Measured) -> bytes:
    """The record of an image."""
    traits = image.traits
    shape = image.kept, image.height, image.width
    look = traits.look or bytes(16)
    data = LAYOUT.pack(image.file, bytes.fromhex(traits.digest), look, traits.look is not None, *shape, *traits.moments)
    return data + CHECK.pack(zlib.crc32(data))


def unpack(record: bytes) -> Measured | None:
    """What a record says; None if it is damaged."""
    data = record[: LAYOUT.size]
    if len(record) != SIZE or CHECK.unpack_from(record, LAYOUT.size)[0] != zlib.crc32(data):
        return None
    file, pixels, look, looks, kept, height, width, *moments = LAYOUT.unpack(data)
    return Measured(file, kept, height, width, Traits(pixels.hex(), look if looks else None, tuple(moments)))


@dataclass
class Records:
    """Records of a file, read memory-mapped; pickles as its path."""

    path: Path | None = None
    _map: mmap.mmap | bytes | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[type["Records"], tuple[Path | None]]:
        return Records, (self.path,)

    def __len__(self) -> int:
        return len(self._data()) // SIZE

    def record(self, index: int) -> bytes:
        """A record by its index."""
        return self._data()[index * SIZE : (index + 1) * SIZE]

    def find(self, file: bytes) -> Measured | None:
        """The record of a file's sha256 where they are sorted; None if there is none, or it is damaged."""
        data = self._data()
        index = bisect.bisect_left(range(len(self)), file, key=lambda index: data[index * SIZE : index * SIZE + KEY])
        image = unpack(self.record(index))
        return image if image is not None and image.file == file else None

    def _data(self) -> mmap.mmap | bytes:
        if self._map is None:
            self._map = b""
            if self.path is not None and self.path.stat().st_size:
                with self.path.open("rb") as file:
                    self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map


class Journal:
    """The records of a run, appended as they come, so that they outlive a run that ends early; no path, no journal."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def read(self) -> bytes:
        """The whole records of the file."""
        data = self.path.read_bytes() if self.path is not None and self.path.exists() else b""
        return data[: len(data) // SIZE * SIZE]

    @contextlib.contextmanager
    def appending(self) -> Iterator[Callable[[bytes], object]]:
        """A function that appends records, while the block runs."""
        if self.path is None:
            yield len
            return
        whole = self.read()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("r+b" if self.path.exists() else "wb", buffering=0) as file:
            file.truncate(len(whole))
            file.seek(len(whole))
            yield file.write


def merge(parts: Iterable[bytes]) -> bytes:
    """Records in the order of their files' sha256, each once, without those of images that have no file."""
    records = np.unique(np.frombuffer(b"".join(parts), f"S{SIZE}"))
    without_file = np.searchsorted(records, NO_FILE + b"\xff" * (SIZE - KEY))
    return records[without_file:].tobytes()


def file_name(dataset: Dataset) -> str:
    """The name of the records in a prepared dataset: it stands for all besides its file that decides an image's."""
    rules = {"version": VERSION, **dataset.model_dump(include={"max_side", "bits", "first_page"})}
    return f"measured-{store.digest(rules)[:16]}.bin"


@contextlib.contextmanager
def taken_over(path: Path, dataset: Dataset, before: Path | None, journal: Journal) -> Iterator[Records]:
    """The records of the dataset as it was before and of a journal, in a file of the folder `path` meanwhile."""
    stored = [] if before is None else [before / file_name(dataset)]
    records = Records(path / "earlier.bin")
    (path / "earlier.bin").write_bytes(
        merge([*(file.read_bytes() for file in stored if file.exists()), journal.read()])
    )
    try:
        yield records
    finally:
        (path / "earlier.bin").unlink()
