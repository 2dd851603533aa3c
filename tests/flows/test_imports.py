"""torch takes seconds to import: of the stages' commands, only `count` does so when it starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.repro import STAGES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stage", sorted({*STAGES} - {"count"}))
def test_a_stage_imports_torch_only_for_its_work(stage: str) -> None:
    code = f"import sys, flows.{stage}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
