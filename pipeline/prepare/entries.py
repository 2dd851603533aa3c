"""The decoding pass: samples of any format → a temporary Arrow file, and one entry per sample for the checks.

Every image is decoded once, by processes on all cores, or not at all if an earlier run has measured it. A few chunks
are in memory at a time. An entry has all that later checks and statistics need; what is long it reads from the
temporary file, so that an image takes less than 200 bytes of memory. What is stored are the bytes that came.
"""

import contextlib
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import batches, processes
from pipeline.images import Reading
from pipeline.prepare.findings import Findings
from pipeline.prepare.loading import Item, Loader, Stored
from pipeline.prepare.measured import Journal, Records, unpack
from pipeline.prepare.traits import Traits
from pipeline.prepare.validate import misnamed
from pipeline.progress import Progress
from pipeline.sample import Classes, Fault, Sample
from pipeline.shards import SCHEMA, Shards, arrow_column
from pipeline.store import StoreError

#: of one chunk: items, and bytes of their files and arrays; the largest image takes 150 MB, its label map 50 MB
CHUNK_ITEMS, CHUNK_BYTES = 64, 8_000_000


class Spool:
    """The temporary file: rows of all good samples, and beside it the records of their images."""

    def __init__(self, path: Path) -> None:
        self.path, self.records_path = path, path.with_name(f"{path.name}.records")
        self._columns: dict[str, pa.ChunkedArray] = {}

    @cached_property
    def rows(self) -> Shards:
        """The stored samples; once all are written."""
        return Shards([self.path])

    @cached_property
    def records(self) -> Records:
        """The records of their images, in the same order."""
        return Records(self.records_path)

    def text(self, row: int, column: str) -> str:
        """A text of a row."""
        if column not in self._columns:
            self._columns[column] = arrow_column(self.rows, column)
        return str(self._columns[column][row].as_py())

    def traits(self, row: int) -> Traits:
        """What was measured of a row's image."""
        image = unpack(self.records.record(row))
        if image is None:
            raise StoreError(f"{self.records_path}: damaged. Check the disk and run again.")
        return image.traits

    def remove(self) -> None:
        """Remove both files."""
        for path in (self.path, self.records_path):
            path.unlink()


@dataclass(frozen=True, slots=True)
class Entry:
    """What the checks need of a stored sample.

    row: its row in the temporary file · classes, semantic_ids: the class indices and label-map ids that occur · fields:
    its annotations · size_bytes: of the stored image.
    """

    spool: Spool
    row: int
    split: str | None
    classes: tuple[int, ...]
    semantic_ids: tuple[int, ...]
    fields: frozenset[str]
    size_bytes: int

    @property
    def where(self) -> str:
        """The file that messages name."""
        return self.spool.text(self.row, "source")

    @property
    def group(self) -> str:
        """Its group, or the digest of its image."""
        return self.spool.text(self.row, "group")

    @property
    def pixels(self) -> str:
        """Digest of the image."""
        return self.spool.traits(self.row).digest

    @property
    def look(self) -> bytes | None:
        """Perceptual hash of the image, None where it means nothing."""
        return self.spool.traits(self.row).look

    @property
    def moments(self) -> tuple[int, ...]:
        """Sums for mean and standard deviation."""
        return self.spool.traits(self.row).moments


def ingest(
    items: Iterator[Item],
    path: Path,
    max_side: int | None,
    findings: Findings,
    *,
    reading: Reading | None = None,
    earlier: Records | None = None,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> tuple[Classes, list[Entry]]:
    """Decode, check and store what a format reads; returns the classes, and the entries of the good samples.

    Args:
        items: of the format's `read`.
        path: of the temporary file.
        max_side: larger images are scaled to it.
        findings: what is found is added to them.
        reading: how images are read that could be read in several ways.
        earlier: sorted records of images, which are not decoded again.
        journal: gets the records of the others.
        progress: is told of each item.
    """
    classes = next(items)
    if not isinstance(classes, Classes):
        raise TypeError(f"a format must yield its Classes first, not {classes!r}")
    findings.blockers += misnamed(classes)
    spool, entries = Spool(path), list[Entry]()
    load = Loader(classes, max_side, reading or Reading(), findings.folder, earlier or Records())
    shared: dict[Hashable, Any] = {}
    copies: dict[int, int] = {}
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(_writer(path))
        records = stack.enter_context(spool.records_path.open("wb"))
        append = stack.enter_context((journal or Journal()).appending())
        for loaded in stack.enter_context(processes.results(load, _chunks(items))):
            good = [stored for _, stored in loaded.items if stored is not None]
            writer.write_batch(loaded.rows)
            records.writelines(stored.record for stored in good)
            append(b"".join(stored.record for stored in good if stored.new))
            copies |= {len(entries) + index: stored.copies for index, stored in enumerate(good) if stored.copies}
            entries += [_entry(spool, row, stored, shared) for row, stored in enumerate(good, len(entries))]
            for faults, _ in loaded.items:
                findings.add(faults)
            if progress is not None:
                progress.advance(len(loaded.items))
    if copies:
        many = f"{sum(copies.values()):,} objects were annotated more than once (same class, same corners)"
        example = spool.text(next(iter(copies)), "source")
        reason = f"{many} in {len(copies):,} images, such as {example}; the copies were dropped"
        findings.add([Fault(findings.from_root("."), reason, warning=True)])
    return classes, _with_own_ids(entries, spool, findings)


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[pa.RecordBatchFileWriter]:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        yield writer


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items in lists that are small enough to be worked on as one."""
    return batches.bounded(items, _size, number=CHUNK_ITEMS, total=CHUNK_BYTES)


def _size(item: Item) -> int:
    if not isinstance(item, Sample):
        return 0
    size = 0 if item.semantic is None else item.semantic.nbytes
    if not isinstance(item.image, Path):
        return size + (len(item.image) if isinstance(item.image, bytes) else item.image.nbytes)
    with contextlib.suppress(OSError):  # reported when the image is read
        size += item.image.stat().st_size
    return size


def _entry(spool: Spool, row: int, stored: Stored, shared: dict[Hashable, Any]) -> Entry:
    """An entry, which shares its values with others that have equal ones."""
    classes, ids, fields = (
        shared.setdefault(value, value) for value in (stored.classes, stored.semantic_ids, stored.fields)
    )
    return Entry(spool, row, shared.setdefault(stored.split, stored.split), classes, ids, fields, stored.size_bytes)


def _with_own_ids(entries: list[Entry], spool: Spool, findings: Findings) -> list[Entry]:
    """The entries whose id no earlier one has; the others are faults."""
    ids = arrow_column(spool.rows, "id")
    if pc.count_distinct(ids).as_py() == len(ids):
        return entries
    first: dict[str, Entry] = {}
    for entry in entries:
        name = spool.text(entry.row, "id")
        if first.setdefault(name, entry) is not entry:
            reason = f"its id {name!r} is taken by {first[name].where}. Give each image its own id."
            findings.add([Fault(entry.where, reason)])
    return list(first.values())
