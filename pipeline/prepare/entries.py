"""The decoding pass: samples of any format → a temporary Arrow file, and one entry per sample for the checks.

Every image is decoded once, on a few threads (Pillow releases the GIL), and few are in memory at a time. An entry holds
all that later checks and statistics need, so that no image is opened twice.
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
from pipeline.prepare.validate import MIN_SIDE, clip_boxes, drop_copies, misfits, misnamed
from pipeline.sample import IGNORE, STORED, Classes, Fault, Sample, resized
from pipeline.shards import write_shard

THREADS = min(4, os.cpu_count() or 1)
#: items in memory at a time: the largest image takes 150 MB, its label map 50 MB
AT_ONCE = 2 * THREADS

Item = Classes | Sample | Fault


@dataclass(frozen=True, slots=True)
class Entry:
    """What the checks need of a stored sample.

    row: its row in the temporary file · pixels: digest of the stored image · look: its perceptual hash, None where it
    means nothing · classes, semantic_ids: the class indices and label-map ids that occur · fields: its annotations ·
    size_bytes: of the raw pixels.
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
    """The result of an item: a sample with its entry, or None; its faults; how many copies of objects were dropped."""

    faults: list[Fault] = field(default_factory=list)
    good: tuple[Sample, Entry] | None = None
    copies: int = 0


def ingest(items: Iterator[Item], spool: Path, max_side: int, findings: Findings) -> tuple[Classes, list[Entry]]:
    """Decode, check and store what a format reads; returns the classes, and the entries of the good samples."""
    classes = next(items)
    if not isinstance(classes, Classes):
        raise TypeError(f"a format must yield its Classes first, not {classes!r}")
    findings.blockers += misnamed(classes)
    sources: dict[str, str] = {}
    copies: dict[str, int] = {}
    entries: list[Entry] = []

    def samples() -> Iterator[Sample]:
        for loaded in _on_threads(lambda item: _load(item, classes, max_side, findings.from_root), items):
            findings.add(loaded.faults)
            if loaded.good is None:
                continue
            sample, entry = loaded.good
            if sample.id in sources:
                reason = f"its id {sample.id!r} is taken by {sources[sample.id]}. Give each image its own id."
                findings.add([Fault(entry.where, reason)])
                continue
            sources[sample.id] = entry.where
            if loaded.copies:
                copies[entry.where] = loaded.copies
            entries.append(replace(entry, row=len(entries)))
            yield sample

    write_shard(spool, samples())
    if copies:
        many = f"{sum(copies.values()):,} objects were annotated more than once (same class, same corners)"
        reason = f"{many} in {len(copies):,} images, such as {next(iter(copies))}; the copies were dropped"
        findings.add([Fault(findings.from_root("."), reason, warning=True)])
    return classes, entries


def _on_threads(load: Callable[[Item], Loaded], items: Iterator[Item]) -> Iterator[Loaded]:
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque(pool.submit(load, item) for item in islice(items, AT_ONCE))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(load, item) for item in islice(items, 1))


def _load(item: Item, classes: Classes, max_side: int, from_root: Callable[[str], str]) -> Loaded:
    if isinstance(item, Fault):
        return Loaded([replace(item, where=from_root(item.where))])
    if isinstance(item, Classes):
        raise TypeError("a format must yield its Classes only once")
    where = from_root(item.source) if item.source else item.id
    try:
        pixels = images.decode(item.image) if isinstance(item.image, Path) else item.image
    except images.ImageError as error:
        return Loaded([Fault(where, str(error))])
    sample = replace(item, image=pixels, source=where)
    reasons = list(misfits(sample, classes))
    if reasons:
        return Loaded([Fault(where, reason) for reason in reasons])
    sample, copies = drop_copies(sample)
    sample, outside = clip_boxes(sample)
    warnings = (
        [Fault(where, f"{outside} boxes reach outside the image and were clipped", warning=True)] if outside else []
    )
    sample = replace(sample, size=sample.size or (pixels.shape[0], pixels.shape[1]))
    if max(pixels.shape) > max_side:
        sample = resized(sample, *images.bounded(pixels, max_side))
        if min(sample.pixels.shape[:2]) < MIN_SIDE:
            return Loaded([Fault(where, f"less than {MIN_SIDE} pixels wide or high at max_side {max_side}. Crop it.")])
        if lost := sum(rle.area(mask) == 0 for mask in sample.masks or ()):
            warnings.append(Fault(where, f"{lost} masks are empty at max_side {max_side}", warning=True))
    return Loaded(warnings, _with_entry(sample, where), copies)


def _with_entry(sample: Sample, where: str) -> tuple[Sample, Entry]:
    pixels = sample.pixels
    gray = images.luminance(pixels)
    digest = traits.pixel_digest(pixels)
    sample = replace(sample, group=sample.group or digest)
    return sample, Entry(
        row=-1,
        id=sample.id,
        where=where,
        group=sample.group or digest,
        split=sample.split,
        pixels=digest,
        look=traits.look(gray),
        classes=_classes(sample),
        semantic_ids=() if sample.semantic is None else _ids(sample.semantic[sample.semantic != IGNORE]),
        fields=frozenset(name for name in STORED if getattr(sample, name) is not None),
        size_bytes=pixels.nbytes,
        moments=traits.moments(pixels, gray),
    )


def _classes(sample: Sample) -> tuple[int, ...]:
    if isinstance(sample.label, np.ndarray):
        return _ids(np.flatnonzero(sample.label))
    label = () if sample.label is None else (int(sample.label),)
    return tuple(sorted({*label, *(() if sample.labels is None else _ids(sample.labels))}))


def _ids(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(np.unique(values).tolist())
