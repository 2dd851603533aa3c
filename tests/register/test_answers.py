"""The process that a registered model answers in does not see today's code, wherever that is installed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: stands for MLflow and tells what it could import
MLFLOW = "import importlib.util, sys\nsys.exit(3 if importlib.util.find_spec('pipeline') else 4)\n"


def test_todays_pipeline_can_not_be_imported(tmp_path: Path) -> None:
    (tmp_path / "mlflow.py").write_text(MLFLOW)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    def ended(*command: str) -> int:
        run = [sys.executable, "-P", *command, "uri", "model", "images", "answers"]
        return subprocess.run(run, cwd=tmp_path, env=environment, check=False).returncode

    assert ended("-c", "import mlflow") == 3  # the control: it is on the path
    assert ended(str(ROOT / "pipeline/register/answers.py")) == 4
