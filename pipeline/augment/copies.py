"""Staged copies: changed copies of each train image, in parts that can be made in any order and by anyone.

What a part holds and what is drawn for it follows from the data and the policy, so one process and many write
the same bytes. Few copies are made here; Ray takes 5 to 15 s to start, which only many large images repay.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import sample
from pipeline.augment.policy import Policy, Settings
from pipeline.sample import Facts, Sample, Shards
from pipeline.seeds import seed_of

#: pixels of one part: a file of up to 300 MB
PART_PIXELS = 100_000_000
#: pixels from which Ray pays on two cores: one and a half minutes of PNG at a megapixel each, half a one at 128×128
MANY_PIXELS = 400_000_000


@dataclass(frozen=True)
class Part:
    """Some copies, as (copy, place in the train split), and the file that they go to."""

    stored: Shards
    settings: Settings
    classes: int
    points: Sequence[str]
    keys: Sequence[tuple[int, int]]
    path: Path


def make(stored: Shards, count: int, settings: Settings, facts: Facts, folder: Path) -> None:
    """Write `count` copies of every sample as `copies-*.arrow`, those of the first round first."""
    pixels = np.asarray(stored.column("height"), np.int64) * np.asarray(stored.column("width"), np.int64)
    keys = [(copy, place) for copy in range(count) for place in range(len(stored))]
    numbers = np.cumsum(np.tile(pixels, count)) // PART_PIXELS
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(keys)]
    parts = [
        Part(stored, settings, len(facts.classes), facts.points, keys[start:end], folder / f"copies-{number:05d}.arrow")
        for number, (start, end) in enumerate(itertools.pairwise(cuts))
    ]
    if len(parts) > 1 and count * int(pixels.sum()) >= MANY_PIXELS and (os.cpu_count() or 1) > 1:
        from pipeline.augment import ray_augment

        ray_augment.each(write, parts)
    else:
        for part in parts:
            write(part)


def write(part: Part) -> None:
    """Make the copies of one part."""
    sample.write_shard(part.path, _changed(part))


def _changed(part: Part) -> Iterator[Sample]:
    change, stored = Policy(part.settings, part.classes, part.points), part.stored

    def other(number: int) -> Sample:
        return stored[number % len(stored)]

    for copy, place in part.keys:
        yield change(stored[place], seed_of("staged", copy, place), other)
