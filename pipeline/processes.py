"""Independent chunks of work on all cores: results in the order of the chunks, bounded memory, nothing left behind.

No result may depend on which process works on a chunk. The first chunks are done in this process: little work then
needs no other, as processes take a second to start. Those that were started end with this process, however it ends.
"""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import ModuleType
from typing import TypeVar

from pipeline.errors import UserError

#: seconds of work in this process before others are started
ALONE_S = 2.0
#: chunks per process that wait to be worked on, or to be taken
AHEAD = 3

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def cores() -> int:
    """The number of cores that this process may use; `taskset` lowers it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def results(
    function: Callable[[Chunk], Result], chunks: Iterable[Chunk], *, processes: int | None = None
) -> Iterator[Iterator[Result]]:
    """`function(chunk)` of each chunk in order, while the block runs; all are pickled, and so are the results.

    Args:
        function: of a module that other processes can import, or an object of a class of one.
        chunks: are taken as they are needed.
        processes: their number, all from the beginning; by default as many as there are cores, once they pay.
    """
    if _module(function) == "__main__":
        raise ValueError(f"{function} is of the program itself, which other processes don't import")
    waiting = iter(chunks)
    with contextlib.ExitStack() as stack:
        alone = _alone(function, waiting, float("inf") if (processes or cores()) < 2 else ALONE_S)
        yield itertools.chain(alone if processes is None else (), _spread(function, waiting, processes, stack))


def _module(function: Callable[[Chunk], Result]) -> str:
    return str(getattr(function, "__module__", type(function).__module__))


def _alone(function: Callable[[Chunk], Result], chunks: Iterator[Chunk], seconds: float) -> Iterator[Result]:
    """The results of chunks that this process works on until the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for chunk in itertools.islice(chunks, 1):
            yield function(chunk)
            break
        else:
            return


def _spread(
    function: Callable[[Chunk], Result], chunks: Iterator[Chunk], processes: int | None, stack: contextlib.ExitStack
) -> Iterator[Result]:
    """The results of chunks that other processes work on; they are started for the first, and end with `stack`."""
    first = list(itertools.islice(chunks, 1))
    if not first:
        return
    number = processes or cores()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_module(function)])
    executor = ProcessPoolExecutor(number, mp_context=context, initializer=_start)
    stack.callback(executor.shutdown, cancel_futures=True)
    chunks = itertools.chain(first, chunks)

    def submit(number: int) -> list[Future[Result]]:
        with _without_program():
            return [executor.submit(function, chunk) for chunk in itertools.islice(chunks, number)]

    waiting = deque(submit(AHEAD * number))
    while waiting:
        try:
            result = waiting.popleft().result()
        except BrokenProcessPool as error:
            reason = f"one of {number} processes was killed, as happens where memory runs out"
            remedy = "Free memory and run again, or use fewer cores, as in `taskset -c 0 make repro`"
            raise UserError(f"{reason}. {remedy}; what is done is kept.") from error
        yield result
        waiting.extend(submit(1))


@contextlib.contextmanager
def _without_program() -> Iterator[None]:
    """Processes that start meanwhile import the function's module, and not the program that was started here."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def _start() -> None:
    """Begin a process of one thread: Ctrl-C is the parent's to handle, and the parent's end is this process's."""
    os.environ.update(OMP_NUM_THREADS="1", OPENCV_NUM_THREADS="1")
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
