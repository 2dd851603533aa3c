"""One prepared dataset: read and decode → check → split → shards, dataset.json, and what was measured of its images.

All faults are collected before any is reported. The settings and the raw files decide the result, whether earlier runs
measured some of the images or none.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import plugins
from pipeline.images import SUFFIXES, Reading
from pipeline.params import Dataset
from pipeline.prepare import duplicates, measured, splits, traits
from pipeline.prepare.entries import Entry, Spool, ingest
from pipeline.prepare.findings import Findings
from pipeline.prepare.measured import Journal
from pipeline.prepare.unpacking import unpacked
from pipeline.progress import Progress, is_watched
from pipeline.sample import SPLITS, STORED, Classes, Facts, Fault
from pipeline.shards import copy_rows
from pipeline.store import write_bytes, write_json

SHARD_BYTES = 256_000_000
#: facts that are stored only where they are set, so that other data sets keep their digest, and their jobs
WHERE_SET = ("bits", "first_page")


def make(
    path: Path,
    dataset: Dataset,
    root: Path,
    *,
    name: str = "images",
    before: Path | None = None,
    unfinished: Path | None = None,
) -> None:
    """Write a prepared dataset into the folder `path`; UserError with every fault.

    Args:
        path: an empty folder.
        dataset: its settings.
        root: what its path begins at.
        name: of the dataset, for the line that tells the progress.
        before: the dataset as an earlier run prepared it, if there is one: images that it has are not decoded again.
        unfinished: a folder for what a run has measured that does not come to its end; the next one goes on with it.
    """
    findings = Findings(dataset.path)
    reader = plugins.load("prepare.formats", dataset.format)
    source = root / dataset.path if dataset.path else None
    spool, reading = Spool(path / "spool.arrow"), Reading(dataset.bits, dataset.first_page)
    journal = Journal(unfinished and unfinished / measured.file_name(dataset))
    reads_archives = plugins.constant("prepare.formats", dataset.format, "ARCHIVES")
    with (
        nullcontext(source) if reads_archives else unpacked(source, path.parent) as folder,
        measured.taken_over(path, dataset, before, journal) as earlier,
        _progress(name, folder) as progress,
    ):
        classes, entries = ingest(
            reader.read(folder, **dataset.options),
            spool.path,
            dataset.max_side,
            findings,
            reading=reading,
            earlier=earlier,
            journal=journal,
            progress=progress,
        )
    entries = check(entries, classes, dataset, findings)
    findings.raise_if_bad(dataset.on_bad)
    for split in SPLITS:
        for number, rows in enumerate(_shards([entry for entry in entries if entry.split == split])):
            copy_rows(spool.rows, rows, path / f"{split}-{number:05d}.arrow")
    write_json(path / "dataset.json", record(_facts(dataset, classes, entries, findings)))
    write_bytes(path / measured.file_name(dataset), measured.merge([spool.records_path.read_bytes()]))
    spool.remove()


def record(facts: Facts) -> dict[str, Any]:
    """The value of dataset.json."""
    return {name: value for name, value in asdict(facts).items() if value or name not in WHERE_SET}


def _progress(name: str, source: Path | None) -> Progress:
    """The progress of a dataset; its number of images is that of the files that may be some."""
    total = None
    if source is not None and source.is_dir() and is_watched():
        total = sum(Path(file).suffix.lower() in SUFFIXES for _, _, files in os.walk(source) for file in files)
    return Progress(name, total)


def check(entries: list[Entry], classes: Classes, dataset: Dataset, findings: Findings) -> list[Entry]:
    """The entries with their splits, without the faulty ones."""

    def without(faults: dict[int, Fault]) -> list[Entry]:
        findings.add(faults.values())
        return [entry for entry in entries if entry.row not in faults]

    entries = without(splits.undecided(entries))
    entries = splits.assign(entries, dataset.seed, dataset.split.val, dataset.split.test)
    entries = without(duplicates.copies(entries))
    entries = without(duplicates.split_groups(entries))
    faults, rows = splits.untrained(entries, classes)
    findings.add(faults)
    entries = [entry for entry in entries if entry.row not in rows]
    findings.blockers += splits.empty(entries)
    findings.add(duplicates.contradictions(entries, classes))
    findings.add(duplicates.look_alikes(entries))
    findings.add(splits.similar(classes))
    findings.add(splits.scarce(class_counts(entries, classes), classes))
    return entries


def class_counts(entries: list[Entry], classes: Classes) -> tuple[int, ...]:
    """The number of train samples that contain each class."""
    counts = Counter(number for entry in entries if entry.split == "train" for number in entry.classes)
    return tuple(counts[index] for index in range(len(classes.names)))


def _shards(entries: list[Entry]) -> Iterator[list[int]]:
    """Rows in order, in shards whose raw images take at most SHARD_BYTES."""
    rows: list[int] = []
    size = 0
    for entry in entries:
        if rows and size + entry.size_bytes > SHARD_BYTES:
            yield rows
            rows, size = [], 0
        rows.append(entry.row)
        size += entry.size_bytes
    yield rows


def _facts(dataset: Dataset, classes: Classes, entries: list[Entry], findings: Findings) -> Facts:
    counts = Counter(str(entry.split) for entry in entries)
    common = frozenset.intersection(*(entry.fields for entry in entries))
    mean, std = traits.mean_std(entry.moments for entry in entries if entry.split == "train")
    return Facts(
        format=dataset.format,
        classes=classes.names,
        semantic_classes=classes.semantic,
        counts={split: counts[split] for split in SPLITS},
        class_counts=class_counts(entries, classes),
        fields=tuple(name for name in STORED if name in common),
        mean=mean,
        std=std,
        warnings=tuple(str(fault) for fault in findings.warnings),
        skipped=tuple(str(fault) for fault in findings.faults),
        keypoints=classes.keypoints,
        max_side=dataset.max_side,
        bits=dataset.bits,
        first_page=dataset.first_page,
    )
