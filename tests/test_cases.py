"""Each input gets its verdict, and a traceback is a crash."""

import sys
from pathlib import Path

import pytest

from tests import cases

BUILDER = "import pathlib, sys\npathlib.Path(sys.argv[1], 'empty').mkdir(parents=True)\n"


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    (folder / "001-empty.py").write_text(BUILDER)
    monkeypatch.setattr(sys, "argv", ["cases", str(folder), "empty"])
    return cases.main()


def test_an_empty_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "## 001-empty: refused" in printed
    assert "@: no format recognises this folder" in printed


def test_a_traceback_is_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "fake"
    (fake / "convline").mkdir(parents=True)
    (fake / "convline/__init__.py").touch()
    (fake / "convline/__main__.py").write_text("print('Traceback (most recent call last):')\n")
    (fake / "dvc.yaml").touch()
    monkeypatch.setattr(cases, "CODE", fake)
    assert run(tmp_path, monkeypatch) == 1
    assert "## 001-empty: crash" in capsys.readouterr().out
