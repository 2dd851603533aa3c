"""Work on other processes: the same results in the same order, and nobody left when it ends, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline import processes
from pipeline.errors import UserError

ROOT = Path(__file__).parents[1]


def square(number: int) -> tuple[int, int]:
    time.sleep(0.001 * (number % 3))
    return number * number, os.getpid()


def refuse(number: int) -> int:
    if number == 3:
        raise UserError("three: is not wanted")
    return number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order_from_several_processes() -> None:
    with processes.results(square, range(40), processes=2) as results:
        squares, pids = zip(*results, strict=True)
    assert list(squares) == [number * number for number in range(40)]
    assert os.getpid() not in pids
    assert not any(psutil.pid_exists(pid) for pid in set(pids))


def test_little_work_starts_no_process() -> None:
    with processes.results(square, range(40)) as results:
        assert {pid for _, pid in results} == {os.getpid()}


def test_chunks_are_taken_as_they_are_needed() -> None:
    taken = []

    def chunks() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with processes.results(square, chunks(), processes=1) as results:
        next(results)
        assert len(taken) <= 1 + processes.AHEAD


def test_a_function_of_the_program_is_refused_at_once() -> None:
    """Little work would be done here, and the same program would break where there is more."""

    def of_the_program(number: int) -> int:
        return number

    of_the_program.__module__ = "__main__"
    with pytest.raises(ValueError, match="of the program itself"), processes.results(of_the_program, [1]) as results:
        list(results)


def test_an_error_comes_as_it_is() -> None:
    with pytest.raises(UserError, match="three"), processes.results(refuse, range(9), processes=1) as results:
        list(results)


def test_a_process_that_was_killed_is_an_error_with_a_remedy() -> None:
    with pytest.raises(UserError, match="memory"), processes.results(die, range(9), processes=1) as results:
        list(results)


PROGRAM = """
from pipeline import processes
from tests.test_processes import square
print("begun")
with processes.results(square, range(3), processes=1) as results:
    print([number for number, _ in results])
"""


def test_a_program_is_not_begun_again_in_each_process(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command, environment = [sys.executable, str(tmp_path / "program.py")], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["begun", "[0, 1, 4]", ""]


ENDLESS = """
import itertools, signal
from pipeline import processes
from tests.test_processes import square
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
with processes.results(square, itertools.count(), processes=2) as results:
    print(next(results), flush=True)
    for _ in results:
        pass  # to print each would fill the pipe, which nobody reads
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_parent_is_that_of_its_processes(number: int) -> None:
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline()
        below = psutil.Process(parent.pid).children(recursive=True)
        assert len(below) >= 3  # two, and the server that forks them
        parent.send_signal(number)
        _, alive = psutil.wait_procs(below, timeout=20)
        parent.kill()
        assert not alive
