"""`make setup` works below any path, and again where its folder was moved; with stand-ins for Python and uv."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
#: makes what `python -m venv` would, and notes what it was asked
PYTHON = """#!/bin/bash
echo "$@" >> asked.txt
if [[ "$*" == "-m venv .venv" ]]; then
    mkdir -p .venv/bin .venv/lib/python3.11/site-packages
    touch .venv/lib/python3.11/site-packages/convline.pth
    echo "home = /usr/bin" > .venv/pyvenv.cfg
    cp python .venv/bin/python
    printf '#!/bin/bash\\necho "uv $1 $2 in $VIRTUAL_ENV" >> asked.txt\\n' > .venv/bin/uv
    chmod +x .venv/bin/uv
fi
"""
ODD = "mein Projekt [1] (ü) it's #2 $x"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / ODD
    made.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPO / name, made)
    (made / "python").write_text(PYTHON)
    (made / "python").chmod(0o755)
    return made


def set_up(folder: Path) -> list[str]:
    """What `make setup` asked of the stand-ins."""
    done = subprocess.run(["make", "setup", "PYTHON=./python"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asked = folder / "asked.txt"
    lines = asked.read_text().splitlines() if asked.exists() else []
    asked.unlink(missing_ok=True)
    return lines


def test_an_environment_is_made_once_and_for_this_folder(folder: Path) -> None:
    asked = set_up(folder)
    assert "-m venv .venv" in asked
    assert [line for line in asked if line.startswith("uv")] == [
        f"uv pip {what} in {folder}/.venv" for what in ("sync", "install")
    ]
    assert "relocatable = true" in (folder / ".venv/pyvenv.cfg").read_text()
    assert set_up(folder) == []


def test_a_moved_and_a_copied_one_is_mended(folder: Path) -> None:
    set_up(folder)
    (folder / ".venv/kept").touch()
    for other in (folder.rename(folder.with_name("mönved")), folder.with_name("copied here")):
        if not other.exists():
            shutil.copytree(folder.with_name("mönved"), other)
        asked = set_up(other)
        assert "-m venv .venv" in asked
        assert f"uv pip install in {other}/.venv" in asked
        assert (other / ".venv/kept").exists()
        assert set_up(other) == []


def test_one_that_an_earlier_version_made_is_made_anew(folder: Path) -> None:
    set_up(folder)
    (folder / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    (folder / ".venv/.ready").write_text("")
    (folder / ".venv/old").touch()
    assert "-m venv .venv" in set_up(folder)
    assert not (folder / ".venv/old").exists()
