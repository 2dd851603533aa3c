"""A seed is a function of what it is for, the same in every process and for every kind of number."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.seeds import seed_of

ROOT = Path(__file__).parents[1]


def test_same_parts_same_seed_in_another_process() -> None:
    program = "from pipeline.seeds import seed_of; print(seed_of('augment', 7, 0, 41))"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(told.stdout) == seed_of("augment", 7, 0, 41) == 2878455404


def test_numpy_numbers_are_the_same_numbers() -> None:
    assert seed_of("order", np.int64(3), np.int32(1)) == seed_of("order", 3, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [("a", 12), ("a", 1, 3), ("b", 1, 2), ("a", "1", 2), ("a", 2, 1), ("a1", 2)])
def test_other_parts_other_seed(other: tuple[int | str, ...]) -> None:
    assert seed_of(*other) != seed_of("a", 1, 2)


def test_seeds_are_distinct_and_spread_over_32_bits() -> None:
    seeds = np.array([seed_of("augment", 0, epoch, index) for epoch in range(4) for index in range(1000)])
    assert len(np.unique(seeds)) >= 3999
    assert 0 <= seeds.min() < 2**25
    assert 2**32 - 2**25 < seeds.max() < 2**32
    bits = (seeds[:, None] >> np.arange(32)) & 1
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.05
