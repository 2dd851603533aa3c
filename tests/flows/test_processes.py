"""What a flow run starts ends with it, and nothing else does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import _processes
from flows._processes import RUN

SLEEP = "import time; time.sleep(99)"
#: a child in a session of its own, as Ray starts them; neither listens to SIGTERM
STUBBORN = (
    "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); print('here', flush=True); {SLEEP}"
)


def begin(run: str, code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, RUN: run}, stdout=subprocess.PIPE)
    if code == STUBBORN:
        assert process.stdout is not None
        process.stdout.readline()
    return process


def runs(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "TERMINATE_S", 0.5)


def test_end_takes_other_sessions_and_the_stubborn_and_leaves_other_runs() -> None:
    mine, other = begin("run-a", STUBBORN), begin("run-b", SLEEP)
    (child,) = psutil.Process(mine.pid).children()
    try:
        assert _processes.terminate("run-a") == 2
        mine.wait(5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
        assert runs(other)
    finally:
        other.kill()
        other.wait()


def test_end_of_nothing_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "TERMINATE_S", 60.0)
    started = time.monotonic()
    assert _processes.terminate("nobody") == 0
    assert time.monotonic() - started < 10


def test_call_gives_the_code_and_the_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(RUN, "run-c")
    code = "import os, sys; print(os.getcwd()); print(); print('no room', file=sys.stderr); sys.exit(3)"
    assert _processes.run_command([sys.executable, "-c", code], tmp_path) == (3, f"{tmp_path}\nno room")
    assert capsys.readouterr().out == f"{tmp_path}\nno room\n"


def test_an_interrupted_call_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN, "run-d")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            _processes.run_command([sys.executable, "-c", STUBBORN], tmp_path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert _processes.with_tag("run-d") == []
