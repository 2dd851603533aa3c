"""Alternating pairs of timings, and the median of their ratios."""

import statistics
import time
from collections.abc import Callable

Ratio = dict[str, float]
PAIRS = 9


def ratio(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    pairs: int = PAIRS,
    *,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Median of our seconds / theirs over alternating pairs, by a clock; `warm` runs each side once before."""
    if warm:
        ours(), theirs()
    timed = []
    for number in range(pairs):
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        seconds = {side: seconds_of(side, clock) for side in (first, second)}
        timed.append((seconds[ours], seconds[theirs]))
    return summary(timed)


def seconds_of(side: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call."""
    started = clock()
    side()
    return clock() - started


def cpu() -> float:
    """CPU seconds of this process, for work that starts no other."""
    return time.process_time()


def summary(timed: list[tuple[float, float]]) -> Ratio:
    """Of pairs of seconds, ours and theirs: the median ratio with the quartiles `low` and `high`, and both medians."""
    low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in timed], n=4, method="inclusive")
    ours_s, theirs_s = (statistics.median(side) for side in zip(*timed, strict=True))
    return {"low": low, "ratio": middle, "high": high, "ours_s": ours_s, "theirs_s": theirs_s, "pairs": len(timed)}
