"""Messages reach the console and a bounded file, and no disk, library or other process is in their way."""

import logging
import logging.config
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import logs

log = logging.getLogger("pipeline.demo")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A project that has been used, with a log of the command `demo`."""
    (tmp_path / ".work").mkdir()
    logs.configure("demo", tmp_path)
    yield tmp_path
    logs.configure()


def lines(root: Path) -> list[str]:
    return (root / ".work/logs/demo.log").read_text(encoding="utf-8").splitlines()


def test_a_message_is_plain_on_the_console_and_has_time_level_and_module_in_the_file(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("five of 100% are here")
    log.warning("\nlook\x1b[2J\n")
    assert tuple(capsys.readouterr()) == ("five of 100% are here\n", "\nlook\\x1b[2J\n\n")
    date, time, *rest = lines(root)[0].split(" ", 4)
    assert (len(date), len(time)) == (len("2026-01-01"), len("12:00:00,000"))
    assert rest == ["INFO", "pipeline.demo:", "five of 100% are here"]
    assert lines(root)[1].endswith("WARNING pipeline.demo: look\\x1b[2J")


def test_quiet_shows_warnings_and_errors_and_the_file_has_all(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(logs.QUIET, "1")
    logs.configure("demo", root)
    for say in (log.info, log.warning, log.error):
        say(say.__name__)
    assert tuple(capsys.readouterr()) == ("", "warning\nerror\n")
    assert len(lines(root)) == 3


def test_a_log_is_appended_to_and_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.info("first")
    logs.configure("demo", root)
    log.info("second")
    assert [line.split()[-1] for line in lines(root)] == ["first", "second"]
    monkeypatch.setattr(logs, "MAX_BYTES", 1000)
    logs.configure("demo", root)
    for number in range(200):
        log.info(f"message {number}")
    files = sorted((root / ".work/logs").iterdir())
    assert [path.name for path in files] == ["demo.log", "demo.log.1"]
    assert all(path.stat().st_size <= 1000 for path in files)
    assert lines(root)[-1].endswith("message 199")


def test_where_nothing_was_made_yet_no_folder_is_made_for_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("demo", tmp_path)
    log.info("early")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".work").mkdir()
    log.info("later")
    assert [line.split()[-1] for line in lines(tmp_path)] == ["later"]
    assert tuple(capsys.readouterr()) == ("early\nlater\n", "")


@pytest.mark.parametrize("fault", ["full", "no folder"])
def test_a_disk_that_takes_no_log_stops_nothing(root: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    if fault == "full":
        (root / ".work/logs").mkdir()
        (root / ".work/logs/demo.log").symlink_to("/dev/full")
    else:
        (root / ".work/logs").write_text("a file where a folder should be")
    log.info("one")
    log.info("two")
    assert tuple(capsys.readouterr()) == ("one\ntwo\n", "")


def test_libraries_that_configure_logging_leave_it_alone_and_do_not_repeat_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Prefect does at its import, which may come after a command has begun."""
    root_logger = logging.getLogger()
    handlers, level = root_logger.handlers[:], root_logger.level
    stream = {"class": "logging.StreamHandler"}
    log.info("before")
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": stream},
            "root": {"level": "INFO", "handlers": ["console"]},
        }
    )
    try:
        log.info("after")
        logging.getLogger("library").warning("of its own")
    finally:
        root_logger.handlers[:], root_logger.level = handlers, level
    assert tuple(capsys.readouterr()) == ("before\nafter\n", "of its own\n")
    assert [line.split()[-1] for line in lines(root)] == ["before", "after"]


def test_two_processes_write_one_file(root: Path) -> None:
    code = (
        "import logging, sys; from pathlib import Path; from pipeline import logs\n"
        f"logs.configure('demo', Path({str(root)!r}))\n"
        "for n in range(200): logging.getLogger('pipeline.demo').info(f'{sys.argv[1]} {n}')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen([*command, name], env=environment, stdout=subprocess.DEVNULL) for name in ("a", "b")]
    assert [process.wait() for process in both] == [0, 0]
    written = [line.split(": ", 1)[1] for line in lines(root)]
    assert sorted(written) == sorted(f"{name} {number}" for name in "ab" for number in range(200))
