"""Runs a stage: as a Prefect flow where `.work/services.json` names a live server, else as a plain function.

Where `CONVLINE_RUN` names a flow run (a repro started in the UI), the stage's flow becomes its child. A user's error
is one message without a traceback. A stage writes its times to `.work/times/`, and `make repro` prints them.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID, uuid4

import psutil

from flows import _progress, _shutdown, passwords
from flows._processes import RUN
from flows.child_commands import NO_TELEMETRY
from pipeline import cluster, command, disk, logs, project, store
from pipeline.errors import UserError

if TYPE_CHECKING:  # pydantic takes half a second, and `make repro` needs it only where something is stale
    from pipeline.params import Params

log = logging.getLogger(__name__)

ROOT = project.ROOT
#: seconds in which a killed run has ended and released its lock
ENDING_S = 15.0
Times: TypeAlias = dict[str, float] | None
Body: TypeAlias = "Callable[[Params, Path], Times]"
Entries: TypeAlias = dict[str, dict[str, Any]]


def stage(name: str, body: Body) -> None:
    """Read params.yaml and run a stage's body from the project's root; the exit code is 2 on a user's error."""
    command.set_up()
    os.environ.update(NO_TELEMETRY)
    os.chdir(ROOT)
    logs.configure(name, ROOT)
    started = time.monotonic()

    def work() -> Times:
        from pipeline import params

        with disk.translate_errors():
            return body(params.read_chosen(ROOT), ROOT)

    def on_shutdown(ancestors: _shutdown.Ancestors) -> None:
        if not ancestors.inherited:  # else flows.repro prints it
            os.write(sys.stderr.fileno(), f"{_progress.stopped_message(ROOT, 'the next run')}\n".encode())
        _shutdown.silence_output()

    def act() -> int:
        lock = lock_with_retry(lambda: store.locked(ROOT / ".work/stages" / f"{name}.lock", name), name)
        with _shutdown.graceful_shutdown(on_shutdown), lock:
            services = live_services(ROOT)
            _connect(services)
            times = _flow(name, work) if "prefect" in services else work()
        times = {**(times or {}), "stage_s": time.monotonic() - started}
        store.write_json(ROOT / ".work/times" / f"{name}.json", times)
        return 0

    if code := command.run(act):
        sys.exit(code)


@contextlib.contextmanager
def lock_with_retry(lock: Callable[[], contextlib.AbstractContextManager[None]], what: str) -> Iterator[None]:
    """Hold a lock; retry for a while before it is refused, since its last holder may still be ending."""
    deadline, logged = time.monotonic() + ENDING_S, False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(lock())
                break
            except UserError:
                if time.monotonic() > deadline:
                    raise
            if not logged:
                log.info(f"{what} is already running; waiting up to {ENDING_S:.0f} s for it to end")
                logged = True
        yield


def _flow(name: str, work: Callable[[], Times]) -> Times:
    """Run as the Prefect flow of this name; the stage's messages go to its log, and to the console unchanged."""
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
        except UserError as error:  # a state: Prefect would print an exception's traceback
            return Failed(message=str(error), data=error)

    for handler in logging.getLogger().handlers:
        handler.addFilter(_for_console)
    return run_flow(run, flow_run=_child_run(run), return_type="state").result()


def _child_run(flow: Any) -> Any:
    """A run of this flow as a child of the run that RUN names, as Prefect makes it for nested flows; or None."""
    if RUN not in os.environ:
        return None
    from prefect import Task
    from prefect.client.orchestration import get_client

    task = Task(fn=flow.fn, name=flow.name)
    with get_client(sync_client=True) as client:
        parent = client.create_task_run(task, UUID(os.environ[RUN]), dynamic_key=uuid4().hex)
        return client.create_flow_run(flow, parent_task_run_id=parent.id)


def in_flow() -> bool:
    """Whether this code runs in a Prefect flow; does not import Prefect to find out."""
    context = sys.modules.get("prefect.context")
    return context is not None and context.FlowRunContext.get() is not None


def _for_console(record: logging.LogRecord) -> bool:
    """Only the stage's own messages: Prefect's remarks, and the repetitions of job runs, are for its page."""
    return record.module != "flow_engine" and record.name != "prefect.task_runs"


def _connect(services: Entries) -> None:
    """Set the variables by which Prefect and Ray find these services; a RAY_ADDRESS that the user set stays."""
    if "prefect" in services:
        os.environ.update(prefect_environment(services["prefect"]["address"], ROOT))
    if "ray" in services and "RAY_ADDRESS" not in os.environ:
        os.environ.update(RAY_ADDRESS=services["ray"]["gcs"], **ray_environment(services["ray"]["token"]))


def prefect_environment(address: str, root: Path) -> dict[str, str]:
    """Prefect's variables for its server, the server's secret and its folder; they override a key of the user's."""
    secret = {"PREFECT_API_AUTH_STRING": passwords.kept_prefect(root), "PREFECT_API_KEY": ""}
    return {"PREFECT_API_URL": f"{address}/api", "PREFECT_HOME": str(root.resolve() / ".work/prefect"), **secret}


def ray_environment(token: str) -> dict[str, str]:
    """Ray's variables to stay on 127.0.0.1, and to require and present the token of a file."""
    return {**cluster.ENVIRONMENT, **cluster.LOOPBACK, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}


def live_services(root: Path) -> Entries:
    """The services that `make ui` started here and that are still alive, by name.

    Services that started before the folder was moved do not count: they write to the old folder.
    """
    work = str(_work(root))
    living = {name: entry for name, entry in entries(root).items() if alive(entry["pid"], entry["started"])}
    return {name: entry for name, entry in living.items() if entry.get("work", work) == work}


def entries(root: Path) -> Entries:
    """The entries of `.work/services.json`: by service its address, process, folder, and how to connect to it.

    In a copied project the file names services of the original: these are left out.
    """
    written = store.read_json(root / ".work/services.json", {})
    return {name: entry for name, entry in written.items() if not _is_of_another_project(entry, root)}


def _is_of_another_project(entry: dict[str, Any], root: Path) -> bool:
    """Whether a living service works in another folder; a folder that is moved takes its processes along."""
    if entry.get("work", str(_work(root))) == str(_work(root)) or not alive(entry["pid"], entry["started"]):
        return False
    try:
        return _work(Path(psutil.Process(entry["pid"]).cwd())) != _work(root)
    except psutil.Error:
        return True


def _work(root: Path) -> Path:
    """The folder `.work`; that of retrain's worktree is the project's."""
    return (root / ".work").resolve()


def alive(pid: int, started: float) -> bool:
    """Whether this process is alive; a later process with the same pid does not count."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
