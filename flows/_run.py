"""Runs a stage: as a Prefect flow where `.work/services.json` names a live server, else as a plain function.

Where `CONVLINE_RUN` names a flow run (a repro begun in the UI), the stage's flow attaches to it as a child.
A user's error is shown as one message, without a traceback. How long a stage took goes to
`.work/times/`, so that `make repro` can say where the time went.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psutil

from flows import _secrets
from pipeline import params, store
from pipeline.errors import UserError

ROOT = Path(__file__).parent.parent
QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
#: names the flow run that a process works for; all that it starts inherits it, and is found by it
RUN = "CONVLINE_RUN"
Times: TypeAlias = dict[str, float] | None
Body = Callable[[params.Params, Path], Times]
Entries: TypeAlias = dict[str, dict[str, Any]]


def stage(name: str, body: Body) -> None:
    """Read params.yaml and run a stage's body from the project's root; the exit code is 2 on a user's error."""
    os.environ.update(QUIET)
    os.chdir(ROOT)
    _end_with_parent()
    started = time.monotonic()

    def work() -> Times:
        return body(params.read(), ROOT)

    try:
        with store.locked(ROOT / ".work/stages" / f"{name}.lock", name):
            services = live_services(ROOT)
            _join(services)
            times = _flow(name, work) if "prefect" in services else work()
    except UserError as error:
        print(f"\n{error}\n", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    store.write_json(ROOT / ".work/times" / f"{name}.json", {**(times or {}), "stage_s": time.monotonic() - started})


def _end_with_parent() -> None:
    """End in order on SIGTERM, and when DVC dies: it leaves its stage running, and a second writer would follow."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def _flow(name: str, work: Callable[[], Times]) -> Times:
    """Run as the Prefect flow of this name; what the stage prints goes to its log, and to the console as it is."""
    os.environ["PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT"] = "%(message)s"
    from prefect import flow, runtime
    from prefect.flow_engine import run_flow
    from prefect.states import Failed

    from flows._suspend import Stage

    @flow(name=name, flow_run_name=name, log_prints=True)
    def run() -> Any:
        try:
            with Stage(UUID(str(runtime.flow_run.id))):
                return work()
        except UserError as error:  # a state, not an exception: Prefect would print its traceback
            return Failed(message=str(error), data=error)

    for handler in logging.getLogger().handlers:
        handler.addFilter(_for_console)
    return run_flow(run, flow_run=_child(run), return_type="state").result()


def _child(flow: Any) -> Any:
    """A run of this flow below the one that RUN names, as Prefect makes it for a flow within a flow; else None."""
    if RUN not in os.environ:
        return None
    from prefect import Task
    from prefect.client.orchestration import get_client

    task = Task(fn=flow.fn, name=flow.name)
    with get_client(sync_client=True) as client:
        above = client.create_task_run(task, UUID(os.environ[RUN]), dynamic_key=uuid4().hex)
        return client.create_flow_run(flow, parent_task_run_id=above.id)


def in_flow() -> bool:
    """Whether this code runs in a Prefect flow; where it does not, Prefect is not imported to find out."""
    context = sys.modules.get("prefect.context")
    return context is not None and context.FlowRunContext.get() is not None


def _for_console(record: logging.LogRecord) -> bool:
    """Of a flow's log only what the stage printed: Prefect's remarks, and what job runs repeat, are for its page."""
    return record.module != "flow_engine" and record.name != "prefect.task_runs"


def _join(services: Entries) -> None:
    """Let Prefect and Ray find these services; a RAY_ADDRESS that the user set stays."""
    if "prefect" in services:
        os.environ.update(prefect_environment(services["prefect"]["address"], ROOT))
    if "ray" in services and "RAY_ADDRESS" not in os.environ:
        os.environ.update(RAY_ADDRESS=services["ray"]["gcs"], **ray_environment(services["ray"]["token"]))


def prefect_environment(address: str, root: Path) -> dict[str, str]:
    """What tells Prefect its server, the secret that this asks for, and its folder; the user's key is not for it."""
    secret = {"PREFECT_API_AUTH_STRING": _secrets.kept_prefect(root), "PREFECT_API_KEY": ""}
    return {"PREFECT_API_URL": f"{address}/api", "PREFECT_HOME": str(root.resolve() / ".work/prefect"), **secret}


def ray_environment(token: str) -> dict[str, str]:
    """What makes Ray stay on 127.0.0.1, and ask for and present the token of a file."""
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # without it Ray takes 127.0.0.1 for the machine's address
    return {**loopback, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}


def live_services(root: Path) -> Entries:
    """The services that `make ui` started and that are still alive, by name."""
    return {name: entry for name, entry in entries(root).items() if alive(entry["pid"], entry["started"])}


def entries(root: Path) -> Entries:
    """What `.work/services.json` says: by service its address, its process, and how to join it."""
    return store.read_json(root / ".work/services.json", {})


def alive(pid: int, started: float) -> bool:
    """Whether this very process lives; a later process that got the same number does not count."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
