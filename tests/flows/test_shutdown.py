"""A process ends in order when it is told to, and by itself when one above it has ended, whoever that was."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from flows import _processes, _progress, _run, _shutdown, repro
from pipeline import store
from pipeline.errors import UserError
from tests.helpers import support

REPO = Path(__file__).parents[2]
#: longer than anything here takes; a wait for what never comes is the failure
LONG_S = 60.0
LEAF = """
import time
from flows import _shutdown
with _shutdown.graceful_shutdown():
    print("here", flush=True)
    time.sleep(99)
"""
#: a process of ours that has a shell between itself and the next, as DVC has
MIDDLE = f"""
import subprocess, sys
from flows import _shutdown
with _shutdown.graceful_shutdown():
    subprocess.run(["sh", "-c", '"$0" -c "$1"; true', sys.executable, {LEAF!r}])
"""
#: one whose thread that began the next has ended
THREADED = f"""
import subprocess, sys, threading, time
from flows import _shutdown
with _shutdown.graceful_shutdown():
    threading.Thread(target=lambda: subprocess.Popen([sys.executable, "-c", {LEAF!r}])).start()
    time.sleep(99)
"""
#: one that finds two signals pending at once, as after Ctrl-C to a group whose members tell each other
BOTH = """
import os, signal, time
from flows import _shutdown
with _shutdown.graceful_shutdown():
    signal.pthread_sigmask(signal.SIG_BLOCK, _shutdown.SIGNALS)
    for number in _shutdown.SIGNALS:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _shutdown.SIGNALS)
    time.sleep(99)
"""
STAGE = """
import signal, sys, time
from pathlib import Path
from flows import _run
_run.ROOT = Path(sys.argv[1])
def body(params, root):
    print("here", flush=True)
    {before}
    try:
        time.sleep(99)
    finally:
        print("a stack of C++", file=sys.stderr)
        {after}
_run.stage("train", body)
"""


def begin(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A Python process that has said `here`, or whose child has."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=REPO,
        env={**{name: value for name, value in os.environ.items() if name != _shutdown.ANCESTORS}, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def leaf(process: subprocess.Popen[str]) -> psutil.Process:
    """The lowest of a chain of processes."""
    return psutil.Process(process.pid).children(recursive=True)[-1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_a_process_above_it_that_is_not_its_parent_has_ended(number: signal.Signals) -> None:
    middle = begin(MIDDLE)
    below = leaf(middle)
    assert len(psutil.Process(middle.pid).children(recursive=True)) == 2
    middle.send_signal(number)
    middle.wait(LONG_S)
    below.wait(LONG_S)


def test_it_lives_on_when_only_the_thread_that_began_it_has_ended() -> None:
    above = begin(THREADED)
    below = leaf(above)
    with pytest.raises(psutil.TimeoutExpired):
        below.wait(4 * _shutdown.POLL_S)
    above.kill()
    below.wait(LONG_S)


@pytest.mark.parametrize(
    ("number", "before", "after"),
    [
        (signal.SIGTERM, "pass", "pass"),
        (signal.SIGINT, "pass", "pass"),
        (signal.SIGINT, "signal.signal(signal.SIGINT, lambda *_: None)", "pass"),  # Ray Train's tells its controller
        (signal.SIGTERM, "pass", "raise ValueError('its cluster is gone')"),
    ],
)
def test_a_stage_that_is_ended_says_one_line(tmp_path: Path, number: signal.Signals, before: str, after: str) -> None:
    support.copy_params(REPO, tmp_path)
    entry = {"state": "running", "name": "linear", "epoch": 3.2, "epochs": 12}
    store.write_json(tmp_path / ".work/jobs/a/state.json", entry)
    store.write_json(tmp_path / ".work/jobs/b/state.json", {**entry, "state": "done"})
    stage = begin(STAGE.format(before=before, after=after), str(tmp_path))
    stage.send_signal(number)
    out, err = stage.communicate(timeout=LONG_S)
    assert (out, err) == ("", "stopped: train, linear epoch 3/12; the next run resumes\n")
    assert stage.returncode == 128 + number
    assert not store.held(tmp_path / ".work/stages/train.lock")


def test_what_does_not_unwind_is_ended_by_force_with_what_it_began() -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(99)"
    )
    code = f"""
import subprocess, sys, time
from flows import _shutdown
with _shutdown.graceful_shutdown(grace_s=0.5):
    below = subprocess.Popen([sys.executable, "-c", {deaf!r}], start_new_session=True)
    while True:
        try:
            time.sleep(99)
        except BaseException:
            pass
"""
    process = begin(code)
    below = leaf(process)
    process.terminate()
    assert process.wait(LONG_S) == 143
    below.wait(LONG_S)


def test_make_and_dvc_count_as_above_and_a_persons_shell_does_not(tmp_path: Path) -> None:
    told = "from flows import _shutdown; print(len(_shutdown.Ancestors().tags))"
    environment = {name: value for name, value in os.environ.items() if name != _shutdown.ANCESTORS}
    (tmp_path / "Makefile").write_text(f'all:\n\t@cd {REPO}; "{sys.executable}" -c "{told}"; true\n')
    for command, marks in ((["make", "-s", "-C", str(tmp_path)], "1"), ([sys.executable, "-c", told], "0")):
        in_shell = ["bash", "-c", '"$@"; true', "bash", *command]
        done = subprocess.run(in_shell, cwd=REPO, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == marks


DVC = "import signal, time\ndef main(_):\n    print('here', flush=True)\n    time.sleep(99)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_dvc_ends_without_a_word(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "dvc").mkdir()
    (tmp_path / "dvc/__init__.py").touch()
    (tmp_path / "dvc/cli.py").write_text(DVC)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from flows import _dvc; sys.exit(_dvc.main())"
    process = begin(code)
    process.send_signal(number)
    assert process.communicate(timeout=LONG_S) == ("", "")
    assert process.returncode == 128 + number


def test_how_far_it_came_is_of_the_stage_that_did_not_end(tmp_path: Path) -> None:
    assert _progress.stopped_message(tmp_path, "make repro") == "stopped: between two stages; make repro resumes"
    for name, at in (("prepare", 1), ("count", 3)):
        lock, times = tmp_path / f".work/stages/{name}.lock", tmp_path / f".work/times/{name}.json"
        for path, seconds in ((lock, at), (times, at + 1)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (seconds, seconds))
    assert _progress.last_stage(tmp_path) is None
    os.utime(tmp_path / ".work/stages/count.lock", (9, 9))
    assert _progress.stopped_message(tmp_path, "make repro") == "stopped: count; make repro resumes"


def test_the_next_one_waits_for_a_lock_that_is_still_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, released = repro.lock(tmp_path), threading.Event()
    first.__enter__()

    def release() -> None:
        released.set()
        first.__exit__(None, None, None)

    threading.Timer(0.7, release).start()
    with _run.lock_with_retry(lambda: repro.lock(tmp_path), "a repro or retrain"):
        assert released.is_set()
    assert capsys.readouterr().out == "a repro or retrain is already running; waiting up to 15 s for it to end\n"


def test_the_next_one_is_refused_where_it_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "ENDING_S", 0.0)
    with repro.lock(tmp_path), pytest.raises(UserError, match="a repro or retrain is already running"):
        _run.lock_with_retry(lambda: repro.lock(tmp_path), "a repro or retrain").__enter__()


def test_what_a_killed_repro_left_is_waited_for_and_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repro, "ENDING_S", 0.2)
    repro.end_previous_run(tmp_path, "1@1.00")
    left = begin("import time; print('here', flush=True); time.sleep(99)", **{_shutdown.ANCESTORS: "0@0.00 1@1.00"})
    repro.end_previous_run(tmp_path, "2@2.00")
    assert left.wait(LONG_S) == -signal.SIGKILL
    assert capsys.readouterr().out == "waiting for the processes of the last run to end\n"
    repro.end_previous_run(tmp_path, "3@3.00")
    assert capsys.readouterr().out == ""
    assert _processes.with_tag("1@1.00") == []


def test_two_signals_at_once_print_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", BOTH], cwd=REPO, capture_output=True, text=True, timeout=LONG_S)
    assert done.stderr == ""
    assert done.returncode in {128 + number for number in _shutdown.SIGNALS}
