"""What a terminal would obey is shown as an escape, wherever it is said."""

import json

import pytest

from pipeline import terminal
from pipeline.errors import UserError
from pipeline.sample import Fault

#: a name and how it is shown
NAMES = {
    "clear\x1b[2J": r"clear\x1b[2J",
    "a\n0 faults": r"a\x0a0 faults",
    "a\x00b\x7f\x9b": r"a\x00b\x7f\x9b",
    "over\u202eridden\u2066": r"over\u202eridden\u2066",
    "line\u2028\u2029": r"line\u2028\u2029",
    "stra\udcdfe": r"stra\xdfe",
    "half \ud800": r"half \ud800",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_can_not_be_seen_is_an_escape(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.escape(name) == NAMES[name]
    assert str(Fault(name, "torn")) == f"{NAMES[name]}: torn"
    assert terminal.name_fault(name) is not None
    assert json.loads(terminal.json_line([name])) == [name]
    assert terminal.ANY.search(terminal.json_line([name])) is None
    terminal.output(name, error=True)
    terminal.output(UserError(name))
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert text == f"{NAMES[name].replace(chr(92) + 'x0a', chr(10))}\n"


@pytest.mark.parametrize("name", ["Käfer", "日本", "שלום", "a\u200fb", "\u00a0", "👩\u200d🔬", "a b-c_d.e"])
def test_what_people_write_stays(name: str) -> None:
    assert terminal.escape(name) == name == terminal.escape_lines(f"{name}")
    assert terminal.name_fault(name) is None


def test_lines_and_tabs_of_our_own_stay() -> None:
    assert str(UserError("one\n\ttwo\r\x1b[1A")) == "one\n\ttwo\\x0d\\x1b[1A"
