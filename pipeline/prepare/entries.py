"""The decoding pass: samples of any format → a spool of Arrow rows, and an entry each for the checks.

Every image is decoded once, on a few threads (Pillow frees the lock), and only a handful are in memory.
An entry holds all that later checks and sums need, so that no image is opened twice.
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
from pipeline.sample import IGNORE, Classes, Fault, Sample, resized, write_shard

THREADS = min(4, os.cpu_count() or 1)
#: items in memory at once: an image of the largest size takes 150 MB, and its label map 50
AT_ONCE = 2 * THREADS
ANNOTATIONS = ("label", "boxes", "labels", "masks", "crowd", "difficult", "points", "semantic")

Item = Classes | Sample | Fault


@dataclass(frozen=True, slots=True)
class Entry:
    """A spooled sample as the checks see it.

    pixels: digest of the stored image · look: its perceptual hash, None where it says nothing · things, stuff:
    the class indices and label-map ids that occur · fields: the annotations it has · size_bytes: raw.
    """

    row: int
    id: str
    where: str
    group: str
    split: str | None
    pixels: str
    look: bytes | None
    things: tuple[int, ...]
    stuff: tuple[int, ...]
    fields: frozenset[str]
    size_bytes: int
    moments: traits.Moments


@dataclass(slots=True)
class Loaded:
    """What became of an item: a sample with its entry, or none; and the findings on the way."""

    faults: list[Fault] = field(default_factory=list)
    good: tuple[Sample, Entry] | None = None


def ingest(items: Iterator[Item], spool: Path, max_side: int, findings: Findings) -> tuple[Classes, list[Entry]]:
    """Decode, check and spool what a format reads; the good come back as entries."""
    classes = next(items)
    if not isinstance(classes, Classes):
        raise TypeError(f"a format yields its Classes first, not {classes!r}")
    findings.blockers += misnamed(classes)
    places: dict[str, str] = {}
    entries: list[Entry] = []

    def samples() -> Iterator[Sample]:
        for loaded in _on_threads(lambda item: _load(item, classes, max_side, findings.place), items):
            findings.add(loaded.faults)
            if loaded.good is None:
                continue
            sample, entry = loaded.good
            if sample.id in places:
                reason = f"its id {sample.id!r} is taken by {places[sample.id]}. Give each image an id of its own."
                findings.add([Fault(entry.where, reason)])
                continue
            places[sample.id] = entry.where
            entries.append(replace(entry, row=len(entries)))
            yield sample

    write_shard(spool, samples())
    return classes, entries


def _on_threads(load: Callable[[Item], Loaded], items: Iterator[Item]) -> Iterator[Loaded]:
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque(pool.submit(load, item) for item in islice(items, AT_ONCE))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(load, item) for item in islice(items, 1))


def _load(item: Item, classes: Classes, max_side: int, place: Callable[[str], str]) -> Loaded:
    if isinstance(item, Fault):
        return Loaded([replace(item, where=place(item.where))])
    if isinstance(item, Classes):
        raise TypeError("a format yields its Classes once")
    where = place(item.source) if item.source else item.id
    try:
        pixels = images.decode(item.image) if isinstance(item.image, Path) else item.image
    except images.ImageError as error:
        return Loaded([Fault(where, str(error))])
    sample = replace(item, image=pixels, source=where)
    reasons = list(misfits(sample, classes))
    if reasons:
        return Loaded([Fault(where, reason) for reason in reasons])
    sample, outside = clip_boxes(sample)
    warnings = [Fault(where, f"{outside} boxes reach outside the image and were cut", warning=True)] if outside else []
    sample = replace(sample, size=sample.size or (pixels.shape[0], pixels.shape[1]))
    if max(pixels.shape) > max_side:
        sample = resized(sample, *images.bounded(pixels, max_side))
        if min(sample.pixels.shape[:2]) < MIN_SIDE:
            return Loaded([Fault(where, f"so long and thin that max_side {max_side} leaves a line. Crop it.")])
        if lost := sum(rle.area(mask) == 0 for mask in sample.masks or ()):
            warnings.append(Fault(where, f"{lost} masks are lost at max_side {max_side}", warning=True))
    return Loaded(warnings, _with_entry(sample, where))


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
        things=_things(sample),
        stuff=() if sample.semantic is None else _ids(sample.semantic[sample.semantic != IGNORE]),
        fields=frozenset(name for name in ANNOTATIONS if getattr(sample, name) is not None),
        size_bytes=pixels.nbytes,
        moments=traits.moments(pixels, gray),
    )


def _things(sample: Sample) -> tuple[int, ...]:
    if isinstance(sample.label, np.ndarray):
        return _ids(np.flatnonzero(sample.label))
    label = () if sample.label is None else (int(sample.label),)
    return tuple(sorted({*label, *(() if sample.labels is None else _ids(sample.labels))}))


def _ids(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(np.unique(values).tolist())
