"""Which split an image belongs to, and whether the splits can be used.

Where the format gives none, the digest of the image's group and the seed decide, nothing else: data that grows
never moves an image from one split to another, and what belongs together stays together.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

from pipeline.prepare.entries import Entry
from pipeline.sample import SPLITS, Classes, Fault

FEW = 2


def undecided(entries: list[Entry]) -> dict[int, Fault]:
    """Samples without a split where others have one, by row."""
    if all(entry.split is None for entry in entries):
        return {}
    reason = "has no split, though other images have one. Give it train, val or test."
    return {entry.row: Fault(entry.where, reason) for entry in entries if entry.split is None}


def assign(entries: list[Entry], seed: int, val: float, test: float) -> list[Entry]:
    """Give every entry a split: the prescribed one; val or test, where none is prescribed, come out of train."""
    prescribed = {entry.split for entry in entries}
    drawn = {"test", "val"} - prescribed

    def place(entry: Entry) -> str:
        if entry.split not in {None, "train"}:
            return str(entry.split)
        share = draw(seed, entry.group)
        split = "test" if share < test else "val" if share < test + val else "train"
        return split if split in drawn else "train"

    return [replace(entry, split=place(entry)) for entry in entries]


def draw(seed: int, group: str) -> float:
    """A number in [0, 1) that the group's name and the seed alone decide."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:6], "big") / 2**48


def unseen(entries: list[Entry], classes: Classes) -> tuple[list[Fault], set[int]]:
    """A fault for each class that val or test holds and train lacks, and the rows of its images."""
    holders: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        for name in (*(classes.things[thing] for thing in entry.things), *(classes.semantic[id] for id in entry.stuff)):
            holders[name, str(entry.split)].append(entry)
    faults, rows = [], set()
    for (name, split), found in sorted(holders.items()):
        if (name, "train") not in holders:
            many = f"{len(found)} image{'s' if len(found) > 1 else ''} in {split}, such as {found[0].where}"
            faults.append(Fault(f"class {name!r}", f"{many}, but none in train. Add some, or change `seed`."))
            rows |= {entry.row for entry in found}
    return faults, rows


def empty(entries: list[Entry]) -> Iterator[Fault]:
    """A fault for each split without an image."""
    counts = Counter(entry.split for entry in entries)
    for split in SPLITS:
        if entries and not counts[split]:
            yield Fault(f"split {split}", "holds no image. Add images, or change `split` or `seed`.")
    if not entries:
        yield Fault("dataset", "holds no usable image. Where no fault says why, correct its `format` or `path`.")


def scarce(counts: tuple[int, ...], classes: Classes) -> Iterator[Fault]:
    """A warning for each class with hardly an image to learn from."""
    for name, count in zip(classes.things, counts, strict=True):
        if count < FEW:
            yield Fault(f"class {name!r}", f"{count} train image{'' if count == 1 else 's'}", warning=True)
