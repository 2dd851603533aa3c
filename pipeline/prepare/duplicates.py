"""Duplicate images: a test image that is also in train makes every score too high.

Exact copies and images of one group in two splits are faults; the split of the highest priority keeps them: test before
val before train. Near duplicates and contradicting labels are warnings.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.entries import Entry
from pipeline.sample import Classes, Fault

PRIORITY = {"test": 0, "val": 1, "train": 2}
SHOWN = 3
#: of 128 bits, how many may differ between hashes of near duplicates: JPEG at quality 50 and smaller copies differ in
#: fewer, and no two of 1,003 similar photos of hands differ in so few
NEAR_BITS = 4
#: number of images from which comparing all pairs takes minutes
NEAR_LIMIT = 200_000
BLOCK = 64

#: N×2: the halves of 128-bit hashes
Hashes = NDArray[np.uint64]


def copies(entries: list[Entry]) -> dict[int, Fault]:
    """Faults, by row, of images whose pixels are also in a split of higher priority."""
    reason = "same pixels as {other} ({split}). Keep one of the two."
    return _leaks(entries, lambda entry: entry.pixels, reason)


def split_groups(entries: list[Entry]) -> dict[int, Fault]:
    """Faults, by row, of images whose group is also in a split of higher priority."""
    reason = "in one group with {other} ({split}). Put the group into one split."
    return _leaks(entries, lambda entry: entry.group, reason)


def _leaks(entries: list[Entry], key: Callable[[Entry], str], reason: str) -> dict[int, Fault]:
    faults = {}
    for same in _together(entries, key):
        keeper = min(same, key=lambda entry: PRIORITY[str(entry.split)])
        for entry in same:
            if entry.split != keeper.split:
                text = reason.format(other=keeper.where, split=keeper.split)
                faults[entry.row] = Fault(f"{entry.where} ({entry.split})", text)
    return faults


def _together(entries: list[Entry], key: Callable[[Entry], str]) -> Iterator[list[Entry]]:
    """Groups of two or more entries with equal keys; memory has a number per entry, and the keys of these groups."""
    hashes = np.fromiter((hash(key(entry)) for entry in entries), np.int64, len(entries))
    values, counts = np.unique(hashes, return_counts=True)
    repeated = set(values[counts > 1].tolist())
    by_key: dict[str, list[Entry]] = defaultdict(list)
    for entry, number in zip(entries, hashes, strict=True):
        if number in repeated:
            by_key[key(entry)].append(entry)
    return (same for same in by_key.values() if len(same) > 1)


def contradictions(entries: list[Entry], classes: Classes) -> Iterator[Fault]:
    """A warning for every image that occurs with different labels."""
    for first, *others in _together(entries, lambda entry: entry.pixels):
        other = next((entry for entry in others if entry.classes != first.classes), None)
        if other:
            labels, other_labels = (
                ", ".join(classes.names[number] for number in entry.classes) for entry in (first, other)
            )
            reason = (
                f"labelled {labels or 'nothing'}, but {other.where} with the same pixels {other_labels or 'nothing'}"
            )
            yield Fault(first.where, reason, warning=True)


def look_alikes(entries: list[Entry]) -> Iterator[Fault]:
    """One warning with the number of near-duplicate pairs in different splits, and some examples."""
    hashed = [entry for entry in entries if entry.look is not None]
    if len(hashed) > NEAR_LIMIT:
        yield Fault("look-alikes", f"not searched for among more than {NEAR_LIMIT:,} images", warning=True)
        return
    count = 0
    shown: list[str] = []
    for split, other in combinations(PRIORITY, 2):
        ours, theirs = ([entry for entry in hashed if entry.split == name] for name in (split, other))
        for left, right in near_pairs(_hashes(ours), _hashes(theirs)):
            count += 1
            if len(shown) < SHOWN:
                shown.append(f"{ours[left].where} ({split}) and {theirs[right].where} ({other})")
    if count:
        more = "; …" if count > SHOWN else ""
        reason = f"{count:,} pairs in different splits look nearly alike: {'; '.join(shown)}{more}"
        yield Fault("look-alikes", reason, warning=True)


def _hashes(entries: list[Entry]) -> Hashes:
    return np.frombuffer(b"".join(entry.look or b"" for entry in entries), np.uint64).reshape(-1, 2)


def near_pairs(left: Hashes, right: Hashes) -> Iterator[tuple[int, int]]:
    """Indices of hashes that differ in few bits, block by block."""
    for start in range(0, len(left), BLOCK):
        block = left[start : start + BLOCK, None]
        differing = np.bitwise_count(block[..., 0] ^ right[:, 0]) + np.bitwise_count(block[..., 1] ^ right[:, 1])
        for row, column in np.argwhere(differing <= NEAR_BITS).tolist():
            yield start + row, column
