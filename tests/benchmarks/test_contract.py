"""Every benchmark can be listed and named, and its ratio is the one that its pairs give; nothing is timed here."""

import ast
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.parts import ratios

FOLDER = Path(command.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def test_the_median_of_pairs_and_its_quartiles() -> None:
    found = ratios.summary([(1.0, 2.0), (3.0, 4.0), (6.0, 6.0), (5.0, 4.0), (6.0, 4.0)])
    assert {name: found[name] for name in ("low", "ratio", "high")} == {"low": 0.75, "ratio": 1.0, "high": 1.25}
    assert (found["ours_s"], found["theirs_s"], found["pairs"]) == (5.0, 4.0, 5)


def test_the_sides_alternate() -> None:
    calls = ""

    def ours() -> None:
        nonlocal calls
        calls += "o"

    def theirs() -> None:
        nonlocal calls
        calls += "t"

    ratios.ratio(ours, theirs, pairs=3)
    assert calls == "ot" + "to" + "ot" + "to"


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_what_it_measures_against(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    assigned = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    constants = {name.id for target in assigned for name in ast.walk(target) if isinstance(name, ast.Name)}
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert ast.get_docstring(tree)
    assert {"TITLE", "NEEDS"} <= constants
    assert "measure" in functions


def test_an_unknown_name_is_refused_with_the_right_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "loadin"])
    assert command.main() == 2
    assert "did you mean 'loading'" in capsys.readouterr().err


def test_what_lacks_a_package_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from benchmarks import noop_repro

    monkeypatch.setattr(noop_repro, "NEEDS", ("no_such_package",))
    monkeypatch.setattr(command, "OUTPUT", tmp_path / "benchmarks.json")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "noop_repro"])
    assert command.main() == 0
    assert "needs no_such_package" in capsys.readouterr().out
