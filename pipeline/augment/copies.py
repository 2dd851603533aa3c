"""Staged copies: augmented copies of each train image, in parts that can be made in any order by any process.

The content and the random numbers of a part depend on the data and the policy only, so one process and many write the
same bytes.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import processes, shards
from pipeline.augment.policy import Policy, Settings
from pipeline.progress import Progress
from pipeline.sample import Facts, Sample
from pipeline.seeds import seed_of
from pipeline.shards import Shards

#: pixels per part: a file of up to 300 MB
PART_PIXELS = 100_000_000


@dataclass(frozen=True)
class Part:
    """Some copies, as (number of the copy, index in the train split), and the file that they are written to."""

    stored: Shards
    settings: Settings
    classes: int
    keypoints: Sequence[str]
    keys: Sequence[tuple[int, int]]
    path: Path


def make(stored: Shards, count: int, settings: Settings, facts: Facts, folder: Path) -> None:
    """Write `count` copies of every sample as `copies-*.arrow`, those of the first round first."""
    pixels = np.asarray(stored.column("height"), np.int64) * np.asarray(stored.column("width"), np.int64)
    keys = [(copy, index) for copy in range(count) for index in range(len(stored))]
    numbers = np.cumsum(np.tile(pixels, count)) // PART_PIXELS
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(keys)]
    parts = [
        Part(
            stored,
            settings,
            len(facts.classes),
            facts.keypoints,
            keys[start:end],
            folder / f"copies-{number:05d}.arrow",
        )
        for number, (start, end) in enumerate(itertools.pairwise(cuts))
    ]
    with Progress("copies", len(keys)) as progress, processes.results(write, parts) as written:
        for number in written:
            progress.advance(number)


def write(part: Part) -> int:
    """Make the copies of one part; returns their number."""
    return shards.write_shard(part.path, _augment(part))


def _augment(part: Part) -> Iterator[Sample]:
    policy, stored = Policy(part.settings, part.classes, part.keypoints), part.stored

    def other(number: int) -> Sample:
        return stored[number % len(stored)]

    for copy, index in part.keys:
        yield policy(stored[index], seed_of("staged", copy, index), other)
