"""Who trains a job and how often, whatever processes die, with threads in the place of processes."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.train import job_queue
from pipeline.train.job_queue import Claim, Group, JobQueue, QueuedJob, WorldEndedError

WAIT_S = 20.0


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def job(name: str, *sources: str, width: int = 1) -> QueuedJob:
    return QueuedJob(name, name, width, 3, sources)


def queue(*jobs: QueuedJob, attempts: int = 3, size: int = 1, stop: bool = False) -> JobQueue:
    made = JobQueue(jobs, attempts, stop_at_failure=stop)
    enter(made, "first", size)
    return made


def enter(made: JobQueue, world: str, size: int) -> None:
    for rank in range(size):
        made.enter(world, size, rank, f"process {rank}")


def states(made: JobQueue) -> dict[str, str]:
    return {name: entries["state"] for name, entries in made.changes(0, 0.0)[1].items() if "state" in entries}


def attempts(made: JobQueue, name: str) -> int:
    return int(made.changes(0, 0.0)[1][name]["attempts"])


def still_waits(call: "Future[Any]") -> bool:
    time.sleep(0.1)
    return not call.done()


def work(made: JobQueue, world: str, rank: int, train: Callable[[str, int], None]) -> None:
    """What a process does, with `train(name, width)` in place of a training."""
    phase = 0
    while (width := made.choose_width(world, phase, rank)) is not None:
        first, number = rank // width * width, 0
        group = Group(phase, first, width)
        while first + width <= 4 and (claim := made.take(world, group, number, rank)) is not None:
            made.meet(world, group, number, rank)
            train(claim.fingerprint, width)
            if rank == first:
                made.end(world, claim.fingerprint, rank, {"state": "done"})
            number += 1
        phase += 1


def test_jobs_come_in_order_each_once_and_after_their_sources(threads: ThreadPoolExecutor) -> None:
    """Four processes, jobs of widths 1, 2 and 4 that start from each other in turn: all in one run."""
    chain = [job(f"c{i}", *([f"c{i - 1}"] if i else []), width=(1, 2, 1, 4, 2, 1)[i]) for i in range(6)]
    plain = [job(f"p{i}", width=(1, 2)[i % 2]) for i in range(20)]
    made, trained, lock = queue(*plain, *chain, size=4), list[tuple[str, int]](), threading.Lock()

    def train(name: str, width: int) -> None:
        with lock:
            trained.append((name, width))

    calls = [threads.submit(work, made, "first", rank, train) for rank in range(4)]
    for call in calls:
        call.result(WAIT_S)
    widths = {item.name: item.width for item in [*plain, *chain]}
    assert sorted(trained) == sorted((name, width) for name, width in widths.items() for _ in range(width))
    order = [name for name, _ in trained if name[0] == "c"]
    assert list(dict.fromkeys(order)) == [f"c{i}" for i in range(6)]
    assert set(states(made).values()) == {"done"}


def test_a_group_waits_for_a_job_in_training_that_may_come_back(threads: ThreadPoolExecutor) -> None:
    made = queue(job("a"), job("b", "a"), size=2)
    one, two = Group(0, 0, 1), Group(0, 1, 1)
    assert made.take("first", one, 0, 0) == Claim("a", made.changes(0, 0.0)[1]["a"])
    waits = threads.submit(made.take, "first", two, 0, 1)
    assert still_waits(waits)
    made.end("first", "a", 0, {"state": "done"})
    claim = waits.result(WAIT_S)
    assert claim is not None
    assert claim.fingerprint == "b"


def test_all_members_of_a_group_are_given_the_same_when_all_have_asked(threads: ThreadPoolExecutor) -> None:
    made, group = queue(job("a", width=2), size=2), Group(0, 0, 2)
    first = threads.submit(made.take, "first", group, 0, 0)
    assert still_waits(first)
    second = threads.submit(made.take, "first", group, 0, 1)
    assert first.result(WAIT_S) == second.result(WAIT_S)
    assert attempts(made, "a") == 1


def test_it_is_given_up_after_the_last_attempt_with_the_last_reason() -> None:
    made, group = queue(job("a"), job("b", "a"), attempts=2), Group(0, 0, 1)
    for number in range(2):
        assert made.take("first", group, number, 0) is not None
        made.end("first", "a", 0, {"state": "waiting", "reason": f"RuntimeError: no luck {number}"})
    assert made.take("first", group, 2, 0) is None
    changed = made.changes(0, 0.0)[1]
    assert changed["a"]["state"] == "failed"
    assert changed["a"]["reason"] == "failed after 2 attempts: RuntimeError: no luck 1"
    assert changed["b"]["reason"] == "a, from which this job starts, failed"
    assert made.choose_width("first", 1, 0) is None


def test_a_final_failure_is_passed_on() -> None:
    made = queue(job("a"), job("b", "a"), job("c", "b"))
    made.take("first", Group(0, 0, 1), 0, 0)
    made.end("first", "a", 0, {"state": "failed", "final": True, "reason": "wrong"})
    changed = made.changes(0, 0.0)[1]
    assert (changed["c"]["state"], changed["c"]["final"]) == ("failed", True)
    assert changed["c"]["reason"] == "b, from which this job starts, failed"


def test_the_first_failure_stops_where_that_is_asked() -> None:
    made = queue(job("a"), job("b"), stop=True)
    made.take("first", Group(0, 0, 1), 0, 0)
    made.end("first", "a", 0, {"state": "failed", "final": True, "reason": "wrong"})
    assert made.take("first", Group(0, 0, 1), 1, 0) is None
    assert made.choose_width("first", 1, 0) is None


def test_another_world_counts_an_attempt_only_of_the_job_whose_process_died(threads: ThreadPoolExecutor) -> None:
    made = queue(job("wide", width=2), job("other", width=2), size=4)
    groups = [Group(0, 0, 2), Group(0, 2, 2)]
    calls = [threads.submit(made.take, "first", groups[rank // 2], 0, rank) for rank in range(4)]
    claims = [call.result(WAIT_S) for call in calls]
    assert {claim.fingerprint for claim in claims if claim} == {"wide", "other"}
    mine = next(claim.fingerprint for rank, claim in enumerate(claims) if rank == 2 and claim)
    made.blame({3: "its process was killed"})
    waits = threads.submit(made.meet, "first", groups[0], 0, 0)
    enter(made, "second", 4)
    with pytest.raises(WorldEndedError):
        waits.result(WAIT_S)
    assert set(states(made).values()) == {"waiting"}
    assert attempts(made, mine) == 1
    assert attempts(made, next(iter({"wide", "other"} - {mine}))) == 0
    assert made.changes(0, 0.0)[1][mine]["reason"] == "its process was killed"


def test_where_nobody_knows_who_died_every_job_in_training_counts_it() -> None:
    made = queue(job("a"), job("b"), attempts=1, size=2)
    for rank in range(2):
        made.take("first", Group(0, rank, 1), 0, rank)
    made.close()
    assert set(states(made).values()) == {"failed"}
    assert made.changes(0, 0.0)[1]["a"]["reason"] == f"failed after 1 attempts: {job_queue.LOST}"


def test_what_a_member_says_first_counts() -> None:
    """One has a fault that a person must mend; the other one has only lost its neighbour."""
    made, group = queue(job("a", width=2), size=2), Group(0, 0, 2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda rank: made.take("first", group, 0, rank), range(2)))
    made.end("first", "a", 1, {"state": "failed", "final": True, "reason": "mend it"})
    made.end("first", "a", 0, {"state": "waiting", "reason": "Connection closed by peer"})
    assert made.changes(0, 0.0)[1]["a"]["reason"] == "mend it"


def test_who_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor) -> None:
    monkeypatch.setattr(job_queue, "ANSWER_S", 0.3)
    made, group = queue(job("a", width=3), size=3), Group(0, 0, 3)
    calls = [threads.submit(made.name_silent, "first", group, 0, rank) for rank in (0, 2)]
    assert [call.result(WAIT_S) for call in calls] == [["process 1"]] * 2
    calls = [threads.submit(made.name_silent, "first", group, 1, rank) for rank in range(3)]
    assert [call.result(WAIT_S) for call in calls] == [[]] * 3


def test_changes_are_those_since_a_version_and_are_waited_for(threads: ThreadPoolExecutor) -> None:
    made = queue(job("a"), job("b"))
    version, changed = made.changes(0, 0.0)
    assert (version, changed) == (0, {})
    waits = threads.submit(made.changes, version, WAIT_S)
    assert still_waits(waits)
    made.note("a", {"epoch": 1})
    version, changed = waits.result(WAIT_S)
    assert changed["a"]["epoch"] == 1
    assert "b" not in changed
    waits = threads.submit(made.changes, version, WAIT_S)
    assert still_waits(waits)
    made.close()
    assert waits.result(WAIT_S) == (version, {})


def test_the_last_of_many_jobs_is_handed_out_as_cheaply_as_the_first() -> None:
    """Counted in jobs that are looked at, which a clock would blur: the work of a claim grows with the jobs at most."""
    made, looked = queue(*(job(str(number)) for number in range(200))), list[str]()
    is_ready = JobQueue._is_ready
    JobQueue._is_ready = lambda self, job: looked.append(job.name) or is_ready(self, job)  # type: ignore[func-returns-value, method-assign]
    try:
        for number in range(200):
            claim = made.take("first", Group(0, 0, 1), number, 0)
            assert claim is not None
            made.note(claim.fingerprint, {"history": [{"epoch": epoch} for epoch in range(100)]})
            made.end("first", claim.fingerprint, 0, {"state": "done"})
    finally:
        JobQueue._is_ready = is_ready  # type: ignore[method-assign]
    assert len(looked) <= 200 * 201 / 2
