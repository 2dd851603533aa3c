"""The kills that once left the training running, by the script that tries all of them."""

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not (REPO / ".venv/bin/dvc").exists(), reason="needs the environment that `make setup` makes")
def test_three_kills_leave_nothing_and_change_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.kills", str(tmp_path), "--only", "1", "--only", "2", "--only", "3"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok\n") == 3
