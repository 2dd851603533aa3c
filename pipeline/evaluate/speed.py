"""A model's latency and throughput, from decoded images to predictions, where the machine is quiet enough.

A time that is taken beside other programs is theirs as much as the model's, so it is not reported. No result depends on
these numbers.
"""

import functools
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from pipeline import fingerprint, store
from pipeline.evaluate.predict import BATCH, Predict
from pipeline.sample import Sample

#: runs after the first, which warms up, and the least seconds that they take; no further run after so many seconds
REPEATS, MIN_S, MAX_S = 20, 0.5, 5.0
#: the most that other programs may use of all processors' time, and the least that this process must get of one's
OTHERS, OWN = 0.1, 0.9
#: measurements of a model until one is undisturbed, and the seconds for which others are watched before each
TRIES, WATCH_S = 3, 0.25
#: earlier measurements, by key
KEPT = ".work/speed.json"


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds at a moment: on the clock, of all processors at work, and of this process on them."""

    clock: float
    all_work: float
    own_work: float

    @classmethod
    def now(cls) -> "Moment":
        """This moment."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # part of user and nice
        return cls(time.monotonic(), sum(times) - guest - idle, time.process_time())


def disturbance(before: Moment, after: Moment, *, own: float = OWN) -> str | None:
    """Why the time between two moments says little about this process; None if it was undisturbed."""
    seconds = max(after.clock - before.clock, 1e-9)
    own_work = after.own_work - before.own_work
    others = (after.all_work - before.all_work - own_work) / (seconds * (psutil.cpu_count() or 1))
    if others > OTHERS:
        return f"other programs used {others:.0%} of the processors"
    if own_work / seconds < own:
        return f"this process got a processor for {own_work / seconds:.0%} of the time"
    return None


def measure(predict: Predict, stored: Sequence[Sample], device: str = "cpu") -> dict[str, Any]:
    """Milliseconds per image (median and quartiles) and images per second in batches, on all threads of this process.

    Predictions lie in main memory, so a device has done its work when they are there.

    They are null, with the reason as `not_measured`, where other programs disturb every try.
    """
    one, many = [stored[0]], [stored[index % len(stored)] for index in range(BATCH)]
    reason: str | None = None
    for _ in range(TRIES):
        before = Moment.now()
        time.sleep(WATCH_S)
        reason = disturbance(before, Moment.now(), own=0)
        if reason is None:
            before = Moment.now()
            seconds, batch_seconds = _seconds(predict, one), _seconds(predict, many)
            reason = disturbance(before, Moment.now())
        if reason is None:
            low, median, high = statistics.quantiles(seconds * 2 if len(seconds) == 1 else seconds, n=4)
            return {
                "latency_ms": median * 1000,
                "latency_low_ms": low * 1000,
                "latency_high_ms": high * 1000,
                "throughput_images_per_s": BATCH / statistics.median(batch_seconds),
                **machine(device),
            }
    return {"latency_ms": None, "throughput_images_per_s": None, "not_measured": reason, **machine(device)}


def machine(device: str = "cpu") -> dict[str, Any]:
    """The device on which this process predicts, its processor, and the number of threads."""
    processor = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return {"device": device, "processor": processor, "threads": torch.get_num_threads()}


def kept_or_measured(
    root: Path, evaluation: str, predict: Predict, stored: Sequence[Sample], device: str = "cpu"
) -> dict[str, Any]:
    """The speed of an evaluation's model: as measured earlier on this machine and by this code, else measured now."""
    mark, kept = key(evaluation, device), store.read_json(root / KEPT, {})
    if mark not in kept:
        measured = measure(predict, stored, device)
        if measured["latency_ms"] is None:
            return measured
        store.write_json(root / KEPT, kept | {mark: measured})
        return measured
    return dict(kept[mark])


def key(evaluation: str, device: str = "cpu") -> str:
    """What a measured speed is of: an evaluation, by its fingerprint, this code, and this machine."""
    return fingerprint.compute_fingerprint((f"{__name__}:measure",), evaluation=evaluation, **machine(device))


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


def _seconds(predict: Predict, samples: Sequence[Sample]) -> list[float]:
    """The seconds of each run; of the first alone if a second one would take too long."""
    first = _run(predict, samples)
    seconds: list[float] = []
    while (len(seconds) < REPEATS or sum(seconds) < MIN_S) and first + sum(seconds) < MAX_S:
        seconds.append(_run(predict, samples))
    return seconds or [first]


def _run(predict: Predict, samples: Sequence[Sample]) -> float:
    started = time.perf_counter()
    predict(samples)
    return time.perf_counter() - started
