"""The decoding pass: samples of any format → a temporary Arrow file, and one entry per sample for the checks.

Every image is decoded once, on a few threads (Pillow releases the GIL), and few are in memory at a time. An entry holds
all that later checks and statistics need, so that no image is opened twice. What is stored are the bytes that came.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import images
from pipeline.geometry import rle
from pipeline.prepare import traits
from pipeline.prepare.findings import Findings
from pipeline.prepare.validate import MIN_SIDE, clip_boxes, misfits, misnamed
from pipeline.sample import IGNORE, STORED, Classes, Fault, Sample, resized
from pipeline.shards import SCHEMA, to_row, write_rows

THREADS = min(4, os.cpu_count() or 1)
#: items in memory at a time: the largest image takes 150 MB, its label map 50 MB
AT_ONCE = 2 * THREADS

Item = Classes | Sample | Fault


@dataclass(frozen=True, slots=True)
class Entry:
    """What the checks need of a stored sample.

    row: its row in the temporary file · pixels: digest of the image · look: its perceptual hash, None where it
    means nothing · classes, semantic_ids: the class indices and label-map ids that occur · fields: its annotations ·
    size_bytes: of the stored image.
    """

    row: int
    id: str
    where: str
    group: str
    split: str | None
    pixels: str
    look: bytes | None
    classes: tuple[int, ...]
    semantic_ids: tuple[int, ...]
    fields: frozenset[str]
    size_bytes: int
    moments: traits.Moments


@dataclass(slots=True)
class Loaded:
    """The result of an item: a stored row with its entry, or None; and its faults."""

    faults: list[Fault] = field(default_factory=list)
    good: tuple[dict[str, Any], Entry] | None = None


def ingest(items: Iterator[Item], spool: Path, max_side: int | None, findings: Findings) -> tuple[Classes, list[Entry]]:
    """Decode, check and store what a format reads; returns the classes, and the entries of the good samples."""
    classes = next(items)
    if not isinstance(classes, Classes):
        raise TypeError(f"a format must yield its Classes first, not {classes!r}")
    findings.blockers += misnamed(classes)
    sources: dict[str, str] = {}
    entries: list[Entry] = []

    def rows() -> Iterator[dict[str, Any]]:
        for loaded in _on_threads(lambda item: _load(item, classes, max_side, findings.from_root), items):
            findings.add(loaded.faults)
            if loaded.good is None:
                continue
            row, entry = loaded.good
            if entry.id in sources:
                reason = f"its id {entry.id!r} is taken by {sources[entry.id]}. Give each image its own id."
                findings.add([Fault(entry.where, reason)])
                continue
            sources[entry.id] = entry.where
            entries.append(replace(entry, row=len(entries)))
            yield row

    write_rows(spool, SCHEMA, rows())
    return classes, entries


def _on_threads(load: Callable[[Item], Loaded], items: Iterator[Item]) -> Iterator[Loaded]:
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque(pool.submit(load, item) for item in islice(items, AT_ONCE))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(load, item) for item in islice(items, 1))


def _load(item: Item, classes: Classes, max_side: int | None, from_root: Callable[[str], str]) -> Loaded:
    if isinstance(item, Fault):
        return Loaded([replace(item, where=from_root(item.where))])
    if isinstance(item, Classes):
        raise TypeError("a format must yield its Classes only once")
    where = from_root(item.source) if item.source else item.id
    try:
        pixels, data = _decode(item)
    except images.ImageError as error:
        return Loaded([Fault(where, str(error))])
    sample = replace(item, image=pixels, source=where)
    reasons = list(misfits(sample, classes))
    if reasons:
        return Loaded([Fault(where, reason) for reason in reasons])
    sample, outside = clip_boxes(sample)
    warnings = (
        [Fault(where, f"{outside} boxes reach outside the image and were clipped", warning=True)] if outside else []
    )
    sample = replace(sample, size=sample.size or (pixels.shape[0], pixels.shape[1]))
    if max_side is not None and max(pixels.shape) > max_side:
        sample, data = resized(sample, *images.bounded(pixels, max_side)), None
        if min(sample.pixels.shape[:2]) < MIN_SIDE:
            return Loaded([Fault(where, f"less than {MIN_SIDE} pixels wide or high at max_side {max_side}. Crop it.")])
        if lost := sum(rle.area(mask) == 0 for mask in sample.masks or ()):
            warnings.append(Fault(where, f"{lost} masks are empty at max_side {max_side}", warning=True))
    return Loaded(warnings, _with_entry(sample, data, where, max_side))


def _decode(item: Sample) -> tuple[NDArray[np.uint8], bytes | None]:
    """The pixels, and the bytes to store; None if the pixels are to be encoded."""
    if not isinstance(item.image, Path):
        return item.image, None
    data = images.read(item.image)
    pixels, kept = images.decode_bytes(data)
    return pixels, data if kept else None


def _with_entry(sample: Sample, data: bytes | None, where: str, max_side: int | None) -> tuple[dict[str, Any], Entry]:
    measured = traits.measure(sample.pixels, max_side or traits.DIGEST_SIDE)
    sample = replace(sample, group=sample.group or measured.digest)
    row = to_row(sample, data)
    return row, Entry(
        row=-1,
        id=sample.id,
        where=where,
        group=sample.group or measured.digest,
        split=sample.split,
        pixels=measured.digest,
        look=measured.look,
        classes=_classes(sample),
        semantic_ids=() if sample.semantic is None else _ids(sample.semantic[sample.semantic != IGNORE]),
        fields=frozenset(name for name in STORED if getattr(sample, name) is not None),
        size_bytes=len(row["image"]),
        moments=measured.moments,
    )


def _classes(sample: Sample) -> tuple[int, ...]:
    if isinstance(sample.label, np.ndarray):
        return _ids(np.flatnonzero(sample.label))
    label = () if sample.label is None else (int(sample.label),)
    return tuple(sorted({*label, *(() if sample.labels is None else _ids(sample.labels))}))


def _ids(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(np.unique(values).tolist())
