"""A model's latency and throughput, from decoded images to predictions."""

import statistics
import time
from collections.abc import Sequence

import torch

from pipeline.evaluate.predict import BATCH, Predict
from pipeline.sample import Sample

#: at most so many runs after the first, which warms up, and no further run after so many seconds
REPEATS, MAX_S = 20, 5.0


def measure(predict: Predict, stored: Sequence[Sample]) -> dict[str, float]:
    """Median milliseconds per image, and images per second in batches, on all threads of this process."""
    one, many = [stored[0]], [stored[index % len(stored)] for index in range(BATCH)]
    return {
        "latency_ms": _median_s(predict, one) * 1000,
        "throughput_images_per_s": BATCH / _median_s(predict, many),
    }


def _median_s(predict: Predict, samples: Sequence[Sample]) -> float:
    first = _seconds(predict, samples)
    seconds: list[float] = []
    while len(seconds) < REPEATS and first + sum(seconds) < MAX_S:
        seconds.append(_seconds(predict, samples))
    return statistics.median(seconds or [first])


def _seconds(predict: Predict, samples: Sequence[Sample]) -> float:
    started = time.perf_counter()
    predict(samples)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
