"""How commands of this environment are started, whatever PATH says: it may name a folder that was moved."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

#: turns off all telemetry and update checks of the dependencies
NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def with_this_python(command: Sequence[str]) -> list[str]:
    """The same command, `python …` or `dvc …`, run by this interpreter."""
    python = {"python": [sys.executable], "dvc": [sys.executable, "-m", "dvc"]}
    return [*python.get(command[0], command[:1]), *command[1:]]


def environment() -> dict[str, str]:
    """The environment for DVC: no telemetry, and `python` in its stages' commands is this one."""
    return {**os.environ, **NO_TELEMETRY, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
