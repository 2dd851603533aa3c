"""`convline export` prints one line with both latencies, or one JSON document."""

import json
import re
from pathlib import Path

import pytest

from convline.commands import export as command
from pipeline.export import make


@pytest.fixture(autouse=True)
def exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of an export: its result, which is tested beside it."""

    def export(root: Path, name: str, out: Path, version: str, format_name: str) -> make.Export:
        assert (root, name, format_name) == (Path.cwd(), "leaves", "onnx")
        assert version.startswith("convline ")
        return make.Export(out, 32, 2e-6, (32, 32), 1.25, 3.5, 1)

    monkeypatch.setattr(make, "export", export)


def test_one_line_has_both_latencies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.command("leaves", tmp_path) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "latency" in line]
    assert re.findall(r"[\d.]+ ms", line) == ["1.25 ms", "3.50 ms"]
    assert "1 thread" in line


def test_json_has_all_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.command("leaves", tmp_path, json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["out"] == str(tmp_path)
    assert (result["latency_ms"], result["torch_latency_ms"], result["rows"]) == (1.25, 3.5, [32, 32])
