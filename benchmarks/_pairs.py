"""Alternating pairs of timings, and the median of their ratios."""

import statistics
import time
from collections.abc import Callable


def ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int = 9) -> dict[str, float]:
    """Median of ours/theirs over alternating pairs, with the quartiles as `low` and `high`."""
    ours(), theirs()
    ratios = []
    for number in range(pairs):
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        seconds = {}
        for side in (first, second):
            started = time.perf_counter()
            side()
            seconds[side] = time.perf_counter() - started
        ratios.append(seconds[ours] / seconds[theirs])
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"low": low, "ratio": middle, "high": high, "pairs": pairs}
