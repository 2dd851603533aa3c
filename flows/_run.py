"""Runs a stage: as a Prefect flow where `.work/services.json` names a live server, else as a plain function.

A user's error is shown as one message, without a traceback. How long a stage took goes to
`.work/times/`, so that `make repro` can say where the time went.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import params, store
from pipeline.errors import UserError

ROOT = Path(__file__).parent.parent
QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
Body = Callable[[params.Params, Path], dict[str, float] | None]


def stage(name: str, body: Body) -> None:
    """Read params.yaml and run a stage's body from the project's root; the exit code is 2 on a user's error."""
    os.environ.update(QUIET)
    os.chdir(ROOT)
    started = time.monotonic()
    try:
        with store.locked(ROOT / ".work/stages" / f"{name}.lock", name):
            times = _flow(name, body)(params.read(), ROOT) or {}
    except UserError as error:
        print(f"\n{error}\n", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    store.write_json(ROOT / ".work/times" / f"{name}.json", {**times, "stage_s": time.monotonic() - started})


def _flow(name: str, body: Body) -> Body:
    services = live_services()
    if "prefect" not in services:
        return body
    os.environ["PREFECT_API_URL"] = services["prefect"] + "/api"
    from prefect import flow

    @flow(name=name, flow_run_name=name, validate_parameters=False, log_prints=True)
    def run() -> Any:
        return body(params.read(), ROOT)

    return lambda _params, _root: run()


def live_services(root: Path = ROOT) -> dict[str, str]:
    """Addresses of the services that `make ui` started and that are still alive, by name."""
    entries = store.read_json(root / ".work/services.json", {})
    return {name: entry["address"] for name, entry in entries.items() if alive(entry["pid"], entry["started"])}


def alive(pid: int, started: float) -> bool:
    """Whether this very process lives; a later process that got the same number does not count."""
    import psutil

    try:
        return abs(psutil.Process(pid).create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
