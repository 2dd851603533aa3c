"""Runs a stage: as a Prefect flow where `.work/services.json` names a live server, else as a plain function.

Where `CONVLINE_RUN` names a flow run (a repro begun in the UI), the stage's flow attaches to it as a child.
A user's error is shown as one message, without a traceback. How long a stage took goes to
`.work/times/`, so that `make repro` can say where the time went.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psutil

from flows import _ends, _reached, _secrets
from flows._commands import QUIET
from flows._processes import RUN
from pipeline import cluster, command, disk, logs, params, store
from pipeline.errors import UserError

log = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent
#: seconds in which what was killed has ended
ENDING_S = 15.0
Times: TypeAlias = dict[str, float] | None
Body = Callable[[params.Params, Path], Times]
Entries: TypeAlias = dict[str, dict[str, Any]]


def stage(name: str, body: Body) -> None:
    """Read params.yaml and run a stage's body from the project's root; the exit code is 2 on a user's error."""
    command.settle()
    os.environ.update(QUIET)
    os.chdir(ROOT)
    logs.configure(name, ROOT)
    started = time.monotonic()

    def work() -> Times:
        with disk.plainly():
            return body(params.read(), ROOT)

    def told(above: _ends.Above) -> None:
        if not above.inherited:  # else flows.repro says it
            os.write(sys.stderr.fileno(), f"{_reached.stopped(ROOT, 'the next run')}\n".encode())
        _ends.hush()

    def act() -> int:
        with _ends.watched(told), patiently(lambda: store.locked(ROOT / ".work/stages" / f"{name}.lock", name), name):
            services = live_services(ROOT)
            _join(services)
            times = _flow(name, work) if "prefect" in services else work()
        times = {**(times or {}), "stage_s": time.monotonic() - started}
        store.write_json(ROOT / ".work/times" / f"{name}.json", times)
        return 0

    if code := command.run(act):
        sys.exit(code)


@contextlib.contextmanager
def patiently(lock: Callable[[], contextlib.AbstractContextManager[None]], what: str) -> Iterator[None]:
    """Hold a lock; its last holder may still be ending, so it is asked for again before it is refused."""
    deadline, said = time.monotonic() + ENDING_S, False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(lock())
                break
            except UserError:
                if time.monotonic() > deadline:
                    raise
            if not said:
                log.info(f"{what} is already running; waiting up to {ENDING_S:.0f} s for it to end")
                said = True
        yield


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
    return {**cluster.ENVIRONMENT, **cluster.LOOPBACK, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}


def live_services(root: Path) -> Entries:
    """The services that `make ui` started here and that are still alive, by name.

    Those that were started before the folder was moved are none of them: they write to where it was.
    """
    work = str(_work(root))
    known = {name: entry for name, entry in entries(root).items() if alive(entry["pid"], entry["started"])}
    return {name: entry for name, entry in known.items() if entry.get("work", work) == work}


def entries(root: Path) -> Entries:
    """What `.work/services.json` says: by service its address, its process, its folder, and how to join it.

    In a copied project the file names services of the project that it was copied from: these are left out.
    """
    known = store.read_json(root / ".work/services.json", {})
    return {name: entry for name, entry in known.items() if not _of_another(entry, root)}


def _of_another(entry: dict[str, Any], root: Path) -> bool:
    """Whether a living service works in another folder; a folder that is moved takes its processes along."""
    if entry.get("work", str(_work(root))) == str(_work(root)) or not alive(entry["pid"], entry["started"]):
        return False
    try:
        return _work(Path(psutil.Process(entry["pid"]).cwd())) != _work(root)
    except psutil.Error:
        return True


def _work(root: Path) -> Path:
    """Where `.work` lies; that of retrain's worktree is the project's."""
    return (root / ".work").resolve()


def alive(pid: int, started: float) -> bool:
    """Whether this very process lives; a later process that got the same number does not count."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
