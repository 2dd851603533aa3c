"""How fast a model answers, measured as a user meets it: decoded images in, predictions out."""

import statistics
import time
from collections.abc import Sequence

import torch

from pipeline.evaluate.predict import BATCH, Predict
from pipeline.sample import Sample

REPEATS = 20


def measure(predict: Predict, stored: Sequence[Sample]) -> dict[str, float]:
    """Median milliseconds for one image, and images a second in batches, on all threads of this process."""
    one, many = [stored[0]], [stored[index % len(stored)] for index in range(BATCH)]
    return {
        "latency_ms": _median_s(predict, one) * 1000,
        "throughput_images_per_s": BATCH / _median_s(predict, many),
    }


def _median_s(predict: Predict, samples: Sequence[Sample]) -> float:
    predict(samples)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        predict(samples)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
