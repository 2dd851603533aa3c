"""Assign images to splits, and check the splits.

Where the format gives no split, the digest of the image's group and the seed decides alone: added data never moves an
image to another split, and images of one group stay in one split.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

from pipeline.prepare.entries import Entry
from pipeline.prepare.formats.parts.files import alike
from pipeline.sample import SPLITS, Classes, Fault

FEW = 2
#: the remedy that every format and command allows; the seed of a dataset that is not yet in params.yaml can't be set
PRESCRIBE = "Add images, or prescribe the split of each, as by folders train, val and test."


def undecided(entries: list[Entry]) -> dict[int, Fault]:
    """Faults, by row, of samples without a split in a dataset where others have one."""
    if all(entry.split is None for entry in entries):
        return {}
    reason = "has no split, though other images have one. Give it train, val or test."
    return {entry.row: Fault(entry.where, reason) for entry in entries if entry.split is None}


def assign(entries: list[Entry], seed: int, val: float, test: float) -> list[Entry]:
    """Give every entry a split: the prescribed one; if no val or test is prescribed, a part of train becomes it."""
    prescribed = {entry.split for entry in entries}
    missing = {"test", "val"} - prescribed

    def split_of(entry: Entry) -> str:
        if entry.split not in {None, "train"}:
            return str(entry.split)
        number = hash_number(seed, entry.group)
        split = "test" if number < test else "val" if number < test + val else "train"
        return split if split in missing else "train"

    return [replace(entry, split=split_of(entry)) for entry in entries]


def hash_number(seed: int, group: str) -> float:
    """A number in [0, 1) from the hash of seed and group."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:6], "big") / 2**48


def untrained(entries: list[Entry], classes: Classes) -> tuple[list[Fault], set[int]]:
    """A fault for each class that is in val or test but not in train, and the rows of its images."""
    holders: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        for name in (
            *(classes.names[number] for number in entry.classes),
            *(classes.semantic[id] for id in entry.semantic_ids),
        ):
            holders[name, str(entry.split)].append(entry)
    faults, rows = [], set()
    for (name, split), holding in sorted(holders.items()):
        if (name, "train") not in holders:
            many = f"{len(holding)} image{'s' if len(holding) > 1 else ''} in {split}, such as {holding[0].where}"
            faults.append(Fault(f"class {name!r}", f"{many}, but none in train. {PRESCRIBE}"))
            rows |= {entry.row for entry in holding}
    return faults, rows


def empty(entries: list[Entry]) -> Iterator[Fault]:
    """A fault for each split without images."""
    counts = Counter(entry.split for entry in entries)
    for split in SPLITS:
        if entries and not counts[split]:
            yield Fault(f"split {split}", f"has no image, of {len(entries):,} in all. {PRESCRIBE}")
    if not entries:
        yield Fault("dataset", "has no usable image. If no fault says why, correct its `format` or `path`.")


def similar(classes: Classes) -> Iterator[Fault]:
    """A warning for each class whose name differs from another's by case, spaces, - or _ only."""
    for names in (classes.names, classes.semantic):
        spellings: dict[str, str] = {}
        for name in names:
            key = re.sub(r"[\s_-]", "", alike(name))
            if (other := spellings.setdefault(key, name)) != name:
                reason = f"may be the same as class {other!r}: only case, spaces, - or _ differ"
                yield Fault(f"class {name!r}", reason, warning=True)


def scarce(counts: tuple[int, ...], classes: Classes) -> Iterator[Fault]:
    """A warning for each class with fewer than FEW train images."""
    for name, count in zip(classes.names, counts, strict=True):
        if count < FEW:
            yield Fault(f"class {name!r}", f"{count} train image{'' if count == 1 else 's'}", warning=True)
