"""The command starts at once, from any folder of the project, and tells errors without a traceback."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convline import __main__ as command
from pipeline.errors import UserError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "prefect", "pyarrow", "mlflow", "ray", "numpy", "pydantic", "ruamel", "PIL", "dvc")


@pytest.mark.parametrize(
    "words", [["--help"], ["add", "--help"], ["predict", "--help"], ["doctor", "--help"], ["trust", "--help"]]
)
def test_help_imports_no_library(words: list[str]) -> None:
    """Imports are seconds; the start of Python and argparse is hundredths of one."""
    code = (
        "import sys; from convline.__main__ import main\n"
        f"sys.argv = ['convline', *{words!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: convline")
    assert done.stdout.endswith("[]\n")


def test_the_project_is_found_from_within(tmp_path: Path) -> None:
    inner = tmp_path / "data/raw"
    inner.mkdir(parents=True)
    with pytest.raises(UserError, match=r"data/raw: no params\.yaml here or in a folder above"):
        command.project(inner)
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    assert command.project(inner) == command.project(tmp_path) == tmp_path


def test_outside_a_project_there_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "convline", "doctor"]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr.strip() == f"{tmp_path}: no params.yaml here or in a folder above. Go to a folder of the project."
    )


def test_paths_count_from_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convline import add

    inner = tmp_path / "inner"
    inner.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    seen: list[Path] = []
    monkeypatch.chdir(inner)
    monkeypatch.setattr(sys, "argv", ["convline", "add", "mine"])

    def run(arguments: argparse.Namespace, root: Path) -> int:
        seen.extend([*arguments.paths, root])
        return 0

    monkeypatch.setattr(add, "run", run)
    assert command.main() == 0
    assert seen == [inner / "mine", tmp_path]
    assert Path.cwd() == tmp_path
