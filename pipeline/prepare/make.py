"""One prepared dataset: read and decode → check → split → shards and dataset.json.

All faults are collected before any is reported; only the settings and the raw files decide the result.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pipeline import plugins
from pipeline.params import Dataset
from pipeline.prepare import duplicates, splits, traits
from pipeline.prepare.entries import Entry, ingest
from pipeline.prepare.findings import Findings
from pipeline.sample import SPLITS, STORED, Classes, Facts, Fault
from pipeline.shards import Shards, copy_rows
from pipeline.store import write_json

SHARD_BYTES = 256_000_000


def make(path: Path, dataset: Dataset, root: Path) -> None:
    """Write a prepared dataset into the folder `path`; UserError with every fault."""
    findings = Findings(dataset.path)
    reader = plugins.load("prepare.formats", dataset.format)
    items = reader.read(root / dataset.path if dataset.path else None, **dataset.options)
    spool = path / "spool.arrow"
    classes, entries = ingest(items, spool, dataset.max_side, findings)
    entries = check(entries, classes, dataset, findings)
    findings.raise_if_bad(dataset.on_bad)
    stored = Shards([spool])
    for split in SPLITS:
        for number, rows in enumerate(_shards([entry for entry in entries if entry.split == split])):
            copy_rows(stored, rows, path / f"{split}-{number:05d}.arrow")
    spool.unlink()
    write_json(path / "dataset.json", asdict(_facts(dataset, classes, entries, findings)))


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
    )
