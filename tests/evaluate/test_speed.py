"""A speed is that of the model alone, or it is not measured; what was measured on this machine is kept."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.evaluate import predict, speed
from pipeline.evaluate.speed import Moment
from pipeline.sample import Sample

SAMPLE = Sample("a", np.zeros((8, 8, 3), np.uint8), label=0)
REASON = "other programs used 43 % of the processors"


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What disturbs each look in turn; quiet when it is empty. A run that is a mock takes no second."""
    reasons: list[str | None] = []
    monkeypatch.setattr(speed, "MIN_S", 0.01)
    monkeypatch.setattr(speed, "disturbance", lambda *_, **__: reasons.pop(0) if reasons else None)
    monkeypatch.setattr(speed, "WATCH_S", 0.0)
    return reasons


def answer(samples: Any) -> list[Any]:
    return [None for _ in samples]


@pytest.mark.parametrize(
    ("all_work", "own_work", "expected"),
    [
        (2.0, 1.95, None),  # of two processors one, for this process
        (3.0, 2.0, "other programs used 25"),
        (1.0, 1.0, "got a processor for 50"),  # stopped half of the time
        (4.0, 3.9, None),  # two threads
    ],
)
def test_others_and_waiting_disturb(
    monkeypatch: pytest.MonkeyPatch, all_work: float, own_work: float, expected: str | None
) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda: 2)
    reason = speed.disturbance(Moment(10.0, 100.0, 7.0), Moment(12.0, 100.0 + all_work, 7.0 + own_work))
    assert reason is None if expected is None else expected in str(reason)


def test_this_process_at_work_is_no_other_program() -> None:
    """With real clocks; what others do in this second may disturb, but not this loop itself."""
    before, ends = Moment.now(), time.monotonic() + 0.5
    while time.monotonic() < ends:
        pass
    after = Moment.now()
    assert after.own_work - before.own_work > 0.1
    assert after.all_work - before.all_work >= 0.8 * (after.own_work - before.own_work)


@pytest.mark.parametrize(("seconds", "times"), [(0.125, speed.REPEATS + 1), (3.0, 2), (60.0, 1)])
def test_speed_is_of_one_image_and_of_a_batch(
    quiet: list[str | None], monkeypatch: pytest.MonkeyPatch, seconds: float, times: int
) -> None:
    """A slow model is not asked for long."""
    asked: list[int] = []
    clock = iter(np.arange(0, 10_000, seconds))

    def slow(samples: Any) -> list[Any]:
        asked.append(len(samples))
        return []

    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    measured = speed.measure(slow, [SAMPLE])
    assert all(measured[f"latency{end}_ms"] == 1000 * seconds for end in ("", "_low", "_high"))
    assert measured["throughput_images_per_s"] == predict.BATCH / seconds
    assert asked == [1] * times + [predict.BATCH] * times


def test_a_fast_model_is_measured_for_a_while(quiet: list[str | None]) -> None:
    asked: list[int] = []

    def fast(samples: Any) -> list[Any]:
        asked.append(len(samples))
        return []

    measured = speed.measure(fast, [SAMPLE])
    assert asked.count(1) > 10 * speed.REPEATS
    assert measured["latency_low_ms"] <= measured["latency_ms"] <= measured["latency_high_ms"]
    assert measured["processor"]
    assert measured["threads"] >= 1


def test_a_disturbed_try_is_repeated_and_given_up_at_last(quiet: list[str | None]) -> None:
    quiet += [REASON, None, REASON]  # before the first try; within the second
    assert speed.measure(answer, [SAMPLE])["latency_ms"] > 0
    quiet += [REASON] * speed.TRIES
    measured = speed.measure(answer, [SAMPLE])
    assert measured["latency_ms"] is measured["throughput_images_per_s"] is None
    assert measured["not_measured"] == REASON


def test_what_was_measured_here_is_kept_and_what_was_not_is_tried_again(
    quiet: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet += [REASON] * speed.TRIES
    assert speed.kept_or_measured(tmp_path, "e", answer, [SAMPLE])["latency_ms"] is None
    first = speed.kept_or_measured(tmp_path, "e", answer, [SAMPLE])
    assert first["latency_ms"] is not None
    quiet += [REASON] * 9
    assert speed.kept_or_measured(tmp_path, "e", answer, [SAMPLE]) == first
    assert speed.kept_or_measured(tmp_path, "other", answer, [SAMPLE])["latency_ms"] is None
    monkeypatch.setattr(speed, "_processor", lambda: "another")
    assert speed.kept_or_measured(tmp_path, "e", answer, [SAMPLE])["latency_ms"] is None
