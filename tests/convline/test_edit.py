"""An entry is inserted and nothing else of the file changes, comments, quotes and blank lines included."""

import difflib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from convline import edit
from pipeline.errors import UserError

ENTRY: dict[str, Any] = {"format": "mask_png", "options": {"classes": ["background", "no", "1", "a: b"]}, "lr": 0.0001}
REPOSITORY = (Path(__file__).parents[2] / "params.yaml").read_bytes().decode()
TEXTS = {
    "ours": REPOSITORY,
    "last section, no line break at the end": "jobs: {}\ndatasets:\n  a: {format: digits}",
    "on one line": "datasets: {a: {format: digits}}  # all\njobs: {}\n",
    "empty": "datasets: {}\njobs: {}\n",
    "over lines": "datasets:\n  a: {format: digits,\n      path: x}  # end\n\n# next\njobs: {}\n",
    "deep": "datasets:\n    a:\n        options:\n            classes:\n            - c # e\n\n\njobs: {}\n",
    "a text block": "datasets:\n  a:\n    format: |\n      digits\n      more\njobs: {}\n",
    "quotes": "'datasets':\n  \"a\": {'format': \"digits\"}\njobs: {}\n",
    "windows": "datasets:\r\n  a: {format: digits}\r\n# next\r\njobs: {}\r\n",
}


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("name", TEXTS)
def test_the_entry_is_there_and_nothing_else_changed(name: str, short: bool) -> None:
    old = TEXTS[name]
    new = edit.insert(old, "datasets", "b", ENTRY, short=short)
    wanted = load(old)
    wanted["datasets"]["b"] = ENTRY
    assert load(new) == wanted
    assert list(load(new)["datasets"])[-1] == "b"
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    changed = [step for step in matcher.get_opcodes() if step[0] != "equal"]
    assert {step[0] for step in changed} == {"insert"}
    if load(old)["datasets"] and "{a:" not in old:
        assert len(changed) == 1


def test_two_entries_stand_behind_each_other_before_the_next_comment() -> None:
    text = "datasets:\n  a: {format: x}\n\n# jobs are\njobs: {}\n"
    for name in "bc":
        text = edit.insert(text, "datasets", name, {"format": name}, short=True)
    assert text == "datasets:\n  a: {format: x}\n  b: {format: b}\n  c: {format: c}\n\n# jobs are\njobs: {}\n"


def test_what_would_be_a_long_line_is_a_block() -> None:
    many = {f"option{number}": number for number in range(12)}
    text = edit.insert("jobs:\n  a: {b: c}\n", "jobs", "d", {"options": many})
    assert max(map(len, text.splitlines())) < edit.LONG
    assert load(text)["jobs"]["d"] == {"options": many}


def test_a_name_that_yaml_takes_for_something_else_is_quoted() -> None:
    for name in ("1", "true", "null", "1e3"):
        assert name in load(edit.insert("jobs:\n  a: {b: c}\n", "jobs", name, {"b": 1}))["jobs"]


def test_a_file_without_the_section_is_reported() -> None:
    with pytest.raises(UserError, match="no section 'jobs'"):
        edit.insert("datasets: {}\n", "jobs", "a", {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# mine\nroster: core  # the demo\njobs: {}\n", "# mine\nroster:\n- core\n- pets  # the demo\njobs: {}\n"),
        ("roster: [core, a]\n", "roster: [core, a, pets]\n"),
        ("roster: []\n", "roster: [pets]\n"),
        ("roster:\n- core\n- a\n# next\njobs: {}\n", "roster:\n- core\n- a\n- pets\n# next\njobs: {}\n"),
        ("roster:\n  - core\n", "roster:\n  - core\n  - pets\n"),
        ("roster: all\n", "roster: all\n"),
        ("roster: [pets]\n", "roster: [pets]\n"),
        ("jobs: {}\n", "jobs: {}\n"),
    ],
)
def test_the_roster_gets_one_more_name(text: str, expected: str) -> None:
    assert edit.append_to_roster(text, "pets") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("roster: core  # the demo\njobs: {}\n", "roster: pets  # the demo\njobs: {}\n"),
        ("roster: [core, a]\n", "roster: pets\n"),
        ("roster:\n  - core\n  - a\n# next\njobs: {}\n", "roster:\n  - pets\n# next\njobs: {}\n"),
        ("roster: all\n", "roster: all\n"),
    ],
)
def test_a_roster_that_names_nothing_gets_the_name_alone(text: str, expected: str) -> None:
    assert edit.append_to_roster(text, "pets", alone=True) == expected
