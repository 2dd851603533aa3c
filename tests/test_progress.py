"""A line of progress is shown to a person who watches, and to nobody else."""

import io
import sys

import pytest

from pipeline import logs, progress, terminal
from pipeline.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal as standard error, and lines without a pause between them."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    return screen


def test_a_person_sees_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    with Progress("mine", 4000) as images:
        images.advance(1000)
        assert "mine: 1,000 of 4,000 images" in screen.getvalue()
        assert "left" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_a_message_makes_room_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    with Progress("mine") as images:
        images.advance()
        shown = screen.getvalue()
        terminal.output("hello")
        assert screen.getvalue() == f"{shown}\r\x1b[K"
        terminal.output("again")
        assert screen.getvalue() == f"{shown}\r\x1b[K"


def test_what_no_person_sees_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    monkeypatch.setenv(logs.QUIET, "1")
    with Progress("quiet", 3) as images:
        images.advance()
    monkeypatch.delenv(logs.QUIET)
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with Progress("logged", 3) as images:
        images.advance()
    assert screen.getvalue() == log.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "expected"), [(10.0, "10 images/s, 30 s left"), (500.0, "0.2 images/s, 25 min left")]
)
def test_the_line_says_what_is_left(seconds: float, expected: str) -> None:
    images = Progress("mine", 400)
    images.advance(100)
    assert images.line(seconds).endswith(expected)
    assert Progress("mine").line(1.0) == "mine: 0 images, 0.0 images/s"
    assert Progress("mine", 3).line(1.0).endswith("? left")


@pytest.mark.parametrize(("seconds", "text"), [(99, "99 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text
