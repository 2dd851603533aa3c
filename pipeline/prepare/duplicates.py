"""Images that occur twice: a copy in train of what is tested makes every score too good.

Exact copies and members of one group are faults where they lie in two splits, and the best protected split keeps
them: test before val before train. Look-alikes and contradicting labels are warnings.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.entries import Entry
from pipeline.sample import Classes, Fault

PROTECTION = {"test": 0, "val": 1, "train": 2}
SHOWN = 3
#: bits of 128 in which hashes of look-alikes may differ: JPEG at quality 50 or a smaller copy stay within,
#: and 1,003 photos of hands of one kind have no two so near
NEAR_BITS = 4
#: images above which all pairs would take minutes
NEAR_LIMIT = 200_000
BLOCK = 64

#: N×2: the halves of 128-bit hashes
Looks = NDArray[np.uint64]


def copies(entries: list[Entry]) -> dict[int, Fault]:
    """Rows whose pixels also lie in a better protected split."""
    reason = "same pixels as {other} ({split}). Keep one of the two."
    return _leaks(entries, lambda entry: entry.pixels, reason)


def torn(entries: list[Entry]) -> dict[int, Fault]:
    """Rows whose group also lies in a better protected split."""
    reason = "of one group with {other} ({split}). Put the group into one split."
    return _leaks(entries, lambda entry: entry.group, reason)


def _leaks(entries: list[Entry], key: Callable[[Entry], str], reason: str) -> dict[int, Fault]:
    faults = {}
    for same in _together(entries, key):
        keeper = min(same, key=lambda entry: PROTECTION[str(entry.split)])
        for entry in same:
            if entry.split != keeper.split:
                told = reason.format(other=keeper.where, split=keeper.split)
                faults[entry.row] = Fault(f"{entry.where} ({entry.split})", told)
    return faults


def _together(entries: Iterable[Entry], key: Callable[[Entry], str]) -> Iterator[list[Entry]]:
    """Entries with equal keys, where there are several."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[key(entry)].append(entry)
    return (same for same in found.values() if len(same) > 1)


def contradictions(entries: list[Entry], classes: Classes) -> Iterator[Fault]:
    """A warning for every image that occurs under different labels."""
    for first, *others in _together(entries, lambda entry: entry.pixels):
        other = next((entry for entry in others if entry.things != first.things), None)
        if other:
            here, there = (", ".join(classes.things[thing] for thing in entry.things) for entry in (first, other))
            reason = f"labelled {here or 'nothing'}, but {other.where} with the same pixels {there or 'nothing'}"
            yield Fault(first.where, reason, warning=True)


def look_alikes(entries: list[Entry]) -> Iterator[Fault]:
    """One warning that counts the pairs of nearly equal images in different splits and shows some."""
    known = [entry for entry in entries if entry.look is not None]
    if len(known) > NEAR_LIMIT:
        yield Fault("look-alikes", f"not searched for among more than {NEAR_LIMIT:,} images", warning=True)
        return
    count = 0
    shown: list[str] = []
    for split, other in combinations(PROTECTION, 2):
        ours, theirs = ([entry for entry in known if entry.split == name] for name in (split, other))
        for left, right in near_pairs(_looks(ours), _looks(theirs)):
            count += 1
            if len(shown) < SHOWN:
                shown.append(f"{ours[left].where} ({split}) and {theirs[right].where} ({other})")
    if count:
        more = "; …" if count > SHOWN else ""
        reason = f"{count:,} pairs in different splits look nearly alike: {'; '.join(shown)}{more}"
        yield Fault("look-alikes", reason, warning=True)


def _looks(entries: list[Entry]) -> Looks:
    return np.frombuffer(b"".join(entry.look or b"" for entry in entries), np.uint64).reshape(-1, 2)


def near_pairs(left: Looks, right: Looks) -> Iterator[tuple[int, int]]:
    """Indices of hashes that differ in few bits, block by block."""
    for start in range(0, len(left), BLOCK):
        block = left[start : start + BLOCK, None]
        differing = np.bitwise_count(block[..., 0] ^ right[:, 0]) + np.bitwise_count(block[..., 1] ^ right[:, 1])
        for row, column in np.argwhere(differing <= NEAR_BITS).tolist():
            yield start + row, column
