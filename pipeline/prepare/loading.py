"""What becomes of an item that a format reads: its image decoded, checked and measured, and the row to store.

A chunk of items is worked on by any process (pipeline/processes.py). An image that an earlier run has measured is not
decoded, unless its pixels have to be encoded anew.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from pipeline import images
from pipeline.geometry import rle
from pipeline.images import Pixels, Reading
from pipeline.prepare import measured, traits
from pipeline.prepare.findings import Findings
from pipeline.prepare.measured import Measured, Records
from pipeline.prepare.validate import MIN_SIDE, clip_boxes, drop_copies, misfits
from pipeline.sample import IGNORE, STORED, Classes, Fault, Sample, resized
from pipeline.shards import SCHEMA, to_row

Item = Classes | Sample | Fault


@dataclass(frozen=True, slots=True)
class Opened:
    """An image of a format.

    pixels: blank, of its size, where nothing needs them · decoded: the image, if it was decoded · file: sha256 of its
    file · data: the bytes to store, None if the pixels are to be encoded · before: its record, if an earlier run has
    measured it.
    """

    pixels: Pixels
    decoded: Image.Image | None = None
    file: bytes = measured.NO_FILE
    data: bytes | None = None
    before: Measured | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the checks need of a stored sample besides its row.

    classes, semantic_ids: class indices and label-map ids that occur · fields: its annotations · size_bytes: of the
    stored image · record: of its image · new: whether this run measured it · copies: of objects, which were dropped.
    """

    split: str | None
    classes: tuple[int, ...]
    semantic_ids: tuple[int, ...]
    fields: frozenset[str]
    size_bytes: int
    record: bytes
    new: bool
    copies: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a chunk: per item its faults, and what was stored or None; and the stored rows."""

    items: list[tuple[list[Fault], Stored | None]]
    rows: pa.RecordBatch


@dataclass(frozen=True)
class Loader:
    """Loads chunks of items; folder: the dataset's path, with which the names of its files begin in messages."""

    classes: Classes
    max_side: int | None
    reading: Reading
    folder: str | None
    earlier: Records

    def __call__(self, items: Sequence[Item]) -> Loaded:
        """Load a chunk."""
        rows: list[dict[str, Any]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings are no faults: the image was read
            loaded = [self._load(item, rows) for item in items]
        return Loaded(loaded, pa.RecordBatch.from_pylist(rows, SCHEMA))

    def _load(self, item: Item, rows: list[dict[str, Any]]) -> tuple[list[Fault], Stored | None]:
        from_root = Findings(self.folder).from_root
        if isinstance(item, Fault):
            return [replace(item, where=from_root(item.where))], None
        if isinstance(item, Classes):
            raise TypeError("a format must yield its Classes only once")
        where = from_root(item.source) if item.source else item.id
        try:
            image = self._open(item.image)
        except images.ImageError as error:
            return [Fault(where, str(error))], None
        sample = replace(item, image=image.pixels, source=where)
        if reasons := list(misfits(sample, self.classes)):
            return [Fault(where, reason) for reason in reasons], None
        sample, copies = drop_copies(sample)
        sample, outside = clip_boxes(sample)
        remarks = (
            [Fault(where, f"{outside} boxes reach outside the image and were clipped", warning=True)] if outside else []
        )
        height, width = image.pixels.shape[:2]
        sample = replace(sample, size=sample.size or (height, width))
        if self._is_large(height, width):
            sample, image = resized(sample, *images.bounded(image.pixels, self.max_side)), replace(image, data=None)
            if min(sample.pixels.shape[:2]) < MIN_SIDE:
                reason = f"less than {MIN_SIDE} pixels wide or high at max_side {self.max_side}. Crop it."
                return [Fault(where, reason)], None
            if lost := sum(rle.area(mask) == 0 for mask in sample.masks or ()):
                remarks.append(Fault(where, f"{lost} masks are empty at max_side {self.max_side}", warning=True))
        record = image.before or self._measure(image, sample.pixels, height, width)
        rows.append(to_row(replace(sample, group=sample.group or record.traits.digest), image.data))
        stored = _stored(sample, rows[-1], record, new=record is not image.before)
        return remarks, replace(stored, copies=copies)

    def _open(self, image: Pixels | Path | bytes) -> Opened:
        if isinstance(image, np.ndarray):
            return Opened(image)
        data = images.read(image) if isinstance(image, Path) else image
        file = hashlib.sha256(data).digest()
        before = self.earlier.find(file)
        if before is not None and before.kept:
            return Opened(images.blank(before.height, before.width), None, file, data, before)
        decoded, kept = images.open_bytes(data, self.reading)
        if kept and not self._is_large(decoded.height, decoded.width):
            return Opened(images.blank(decoded.height, decoded.width), decoded, file, data, before)
        return Opened(np.asarray(decoded, np.uint8), None, file, None, before)

    def _is_large(self, height: int, width: int) -> bool:
        return self.max_side is not None and max(height, width) > self.max_side

    def _measure(self, image: Opened, pixels: Pixels, height: int, width: int) -> Measured:
        decoded = Image.fromarray(pixels) if image.decoded is None else image.decoded
        image_traits = traits.measure(decoded, self.max_side or traits.DIGEST_SIDE)
        return Measured(image.file, image.data is not None, height, width, image_traits)


def _stored(sample: Sample, row: dict[str, Any], record: Measured, *, new: bool) -> Stored:
    return Stored(
        split=sample.split,
        classes=_classes(sample),
        semantic_ids=() if sample.semantic is None else _ids_of_map(sample.semantic),
        fields=frozenset(name for name in STORED if getattr(sample, name) is not None),
        size_bytes=len(row["image"]),
        record=measured.pack(record),
        new=new,
    )


def _classes(sample: Sample) -> tuple[int, ...]:
    if isinstance(sample.label, np.ndarray):
        return _ids(np.flatnonzero(sample.label))
    label = () if sample.label is None else (int(sample.label),)
    return tuple(sorted({*label, *(() if sample.labels is None else _ids(sample.labels))}))


def _ids_of_map(semantic: NDArray[np.uint8]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(np.bincount(semantic.ravel(), minlength=IGNORE)[:IGNORE]).tolist())


def _ids(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(np.unique(values).tolist())
