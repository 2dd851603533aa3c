"""`convline why` prints plain lines, or one JSON document."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convline.commands import why as command
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.why import MISSING, Explanation, Reason


def test_each_reason_has_a_line() -> None:
    reasons = (
        Reason("setting", "lr", 0.05, 0.01),
        Reason("definition", "pipeline/train/loop.py:Trainer._step", "a", "b"),
        Reason("definition", "pipeline/train/loop.py:added", MISSING, "b"),
        Reason("definition", "pipeline/train/loop.py:gone", "a", MISSING),
        Reason("library", "torch", "2.15", "2.16"),
    )
    in_effect = {"device": "cuda:0", "precision": "bfloat16", "workers": 2}
    head, *rest = command.lines("linear", Explanation("stale", reasons, ("a note",), in_effect))
    assert head.startswith("linear: stale")
    assert all(word in head for word in ("cuda:0", "bfloat16", "2 processes"))
    ends = ("0.05 → 0.01", "changed", "added", "removed", "2.15 → 2.16")
    assert [line.endswith(end) for line, end in zip(rest, ends, strict=False)] == [True] * len(ends)
    assert rest[-1].strip() == "a note"


def test_every_state_is_reported() -> None:
    for state in ("fresh", "stale", "new", "unknown", "waiting"):
        assert len(list(command.lines("a", Explanation(state)))) == 1


def test_the_roster_is_reported_as_json(
    project: Callable[..., tuple[Path, Params]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = project({"a": {}, "b": {"lr": 0.1}})
    monkeypatch.chdir(root)
    assert command.command(json=True) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {name: item["state"] for name, item in told.items()} == {"a": "new", "b": "new"}
    assert command.command(["b"]) == 0
    assert capsys.readouterr().out.startswith("b: not trained")
    with pytest.raises(UserError, match="c"):
        command.command(["c"])
