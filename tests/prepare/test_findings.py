"""What is said of faults: equal ones once, with their number; blockers can't be skipped."""

import pytest

from pipeline.errors import UserError
from pipeline.prepare.findings import Findings, grouped
from pipeline.sample import Fault

SAME = [Fault(f"{name}.png", "is torn. Fetch it again.") for name in "abc"]


def test_equal_reasons_take_one_line_as_faults_and_as_stored_notes() -> None:
    notes = [*SAME, Fault("d.png", "has no label. Add it."), Fault("x: y.png", "is torn. Fetch it again.")]
    expected = ["a.png: is torn. Fetch it again. (and 3 more like it, up to x: y.png)", "d.png: has no label. Add it."]
    assert grouped(notes) == expected
    assert grouped([str(fault) for fault in notes[:4]]) == [
        expected[0].replace("3 more", "2 more").replace("x: y", "c"),
        expected[1],
    ]


def test_lines_are_bounded_and_what_a_terminal_obeys_is_escaped() -> None:
    assert grouped([Fault("a", str(number)) for number in range(5)], 3) == [
        "a: 0",
        "a: 1",
        "a: 2",
        "… and 2 other reasons",
    ]
    assert grouped([Fault("\x1b[2J", "b"), Fault("\x1b", "b")]) == [r"\x1b[2J: b (and 1 more like it, up to \x1b)"]


def test_skipping_is_proposed_unless_a_fault_blocks() -> None:
    findings = Findings(None)
    findings.add(SAME)
    with pytest.raises(UserError, match=r"3 faults\n  a\.png: .*2 more like it.*\n.*on_bad: skip"):
        findings.raise_if_bad("error")
    findings.raise_if_bad("skip")
    findings.add([Fault(".", "its labels count from 1.", blocks=True)])
    for on_bad in ("error", "skip"):
        with pytest.raises(UserError) as refused:
            findings.raise_if_bad(on_bad)
        assert "skip" not in str(refused.value)
