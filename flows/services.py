"""`make ui` and `make down`: Prefect, MLflow, a Ray head and the server of the deployments, in the background.

Each service runs in a session of its own and logs to `.work/logs/`. `.work/services.json` lists those that answered;
`down` ends exactly these and their children, and never another process that was given one of their pids.
"""

import argparse
import contextlib
import dataclasses
import http.client
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from flows import passwords
from flows._processes import is_running
from flows._run import ROOT, Entries, alive, entries, live_services, prefect_environment, ray_environment
from flows.child_commands import NO_TELEMETRY
from pipeline import addresses, command, database, logs, preflight, store, tracking
from pipeline.errors import UserError

#: its `__name__` is `__main__` where it is run
log = logging.getLogger("flows.services")

HOST = "127.0.0.1"
PORTS = {"PREFECT_PORT": 4200, "MLFLOW_PORT": 5000, "RAY_DASHBOARD_PORT": 8265, "RAY_PORT": 6379}
NAMES = ("prefect", "mlflow", "ray", "serve")
#: the line that flows/serve.py writes to its log once it accepts runs
SERVED = "deployments are served"
#: variables of the user's that would override the secrets of these services
OVERRIDING = {"PREFECT_API_KEY", "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"}
START_S, STOP_S, POLL_S = 240.0, 15.0, 0.25


@dataclasses.dataclass(frozen=True)
class Service:
    """How a service is started, where it answers, and what else services.json says about it."""

    name: str
    command: list[str]  # what follows `python`
    port: int
    health: str  # a path below the port; without a port, a line of its log
    environment: dict[str, str]
    record: dict[str, str] = dataclasses.field(default_factory=dict)


def up(root: Path) -> None:
    """Start the services that do not run, wait until they answer, and log all addresses."""
    running = live_services(root)
    dead = {name: entry for name, entry in entries(root).items() if name not in running}
    for name, entry in dead.items():
        moved = alive(entry["pid"], entry["started"])
        state = f"was still running in {entry['work']}" if moved else "had ended by itself"
        log.warning(f"{name} {state}; the last lines of its output are in {_keep_log(name, root)}")
    _stop(dead)  # its children, which may still run
    if "prefect" in dead and "serve" in running:
        _stop({"serve": running.pop("serve")})  # it would continue with a server that is gone
    makers = {"prefect": _prefect, "mlflow": _mlflow, "ray": _ray}
    missing = [make(root) for name, make in makers.items() if name not in running]
    # The server may make MLflow's tables, and so may a stage that starts now: one at a time.
    with store.locked(root / ".work/mlflow.lock", "another MLflow start", wait=True):
        addresses.update(root / tracking.FOLDER)
        running |= _start(missing, root)
    store.write_json(root / ".work/services.json", running)
    if "serve" not in running:
        missing.append(_serve(root, running["prefect"]["address"]))
        running |= _start(missing[-1:], root)
        store.write_json(root / ".work/services.json", running)
    log.info("started:" if missing else "already up:")
    for name in NAMES:
        log.info(f"  {name:8}{running[name]['address']}")
    log.info("Their pages ask once for a login:")
    log.info(f"  prefect asks for the text in {root / passwords.PREFECT}")
    log.info(f"  mlflow  asks for the user {passwords.USER} and the admin_password in {root / passwords.MLFLOW}")
    log.info(f"  ray     asks for the token in {root / passwords.RAY}")


def down(root: Path) -> None:
    """End the services of services.json, with their children."""
    running = entries(root)
    # First the server of the deployments and its runs: they would wait for a Prefect that is gone.
    stopped = _stop({name: running.pop(name) for name in ("serve",) if name in running}) | _stop(running)
    (root / ".work/services.json").unlink(missing_ok=True)
    for name, count in stopped.items():
        log.info(f"stopped {name} ({count} processes)" if count else f"{name} had ended before")
    if not stopped:
        log.info("nothing was running")


def _prefect(root: Path) -> Service:
    port = _port("PREFECT_PORT")
    own_pages = f"http://{HOST}:{port},http://localhost:{port}"  # Prefect's default lets any website in
    environment = {
        "PREFECT_SERVER_API_AUTH_STRING": passwords.prefect(root),
        **prefect_environment(f"http://{HOST}:{port}", root),
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": own_pages,
    }
    command = ["-m", "flows._prefect", "server", "start", "--host", HOST, "--port", str(port)]
    return Service("prefect", command, port, "/api/health", environment)


def _mlflow(root: Path) -> Service:
    port = _port("MLFLOW_PORT")
    folder = root.resolve() / tracking.FOLDER
    preflight.check(root, (database.faults,))
    folder.mkdir(exist_ok=True)
    command = ["-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", "--no-serve-artifacts"]
    command += ["--backend-store-uri", tracking.uri(root), "--default-artifact-root", (folder / "artifacts").as_uri()]
    command += ["--app-name", "basic-auth"]
    no_jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {**tracking.ENVIRONMENT, **no_jobs, **passwords.mlflow(root)}
    return Service("mlflow", command, port, "/health", environment)


def _ray(root: Path) -> Service:
    port, gcs = _port("RAY_DASHBOARD_PORT"), _port("RAY_PORT")
    # In Ray's default folder any other ray.init() of this machine would join this head; sockets need a short path.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    token = str(passwords.ray(root))
    command = ["-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats", "--temp-dir", folder]
    command += ["--node-ip-address", HOST, "--port", str(gcs)]
    command += ["--dashboard-host", HOST, "--dashboard-port", str(port), "--dashboard-agent-listen-port", "0"]
    environment = {
        **ray_environment(token),
        "PYTHONPATH": str(root.resolve()),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # no second node takes over, so waiting 30 s for one is idle
    }
    record = {"gcs": f"{HOST}:{gcs}", "token": token, "folder": folder}
    return Service("ray", command, port, "/api/gcs_healthz", environment, record)


def _serve(root: Path, prefect: str) -> Service:
    environment = {**prefect_environment(prefect, root), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    record = {"address": f"{prefect}/deployments"}
    return Service("serve", ["-m", "flows.serve"], 0, SERVED, environment, record)


def _port(name: str) -> int:
    """The port of a service, from the environment or the default; UserError if it is taken or no port."""
    value = os.environ.get(name, str(PORTS[name]))
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise UserError(f"{name}: {value!r} is not a port. Give a number from 1 to 65535.")
    with socket.socket() as probe:
        if probe.connect_ex((HOST, int(value))) == 0:
            remedy = f"Stop that program, or take another port: make ui {name}={int(value) + 1}"
            raise UserError(f"{HOST}:{value}: is used by another program. {remedy}")
    return int(value)


def _start(services: list[Service], root: Path) -> Entries:
    """Start services; returns their entries of services.json once all answer. If one fails, all are stopped."""
    started: Entries = {}
    waiting: list[tuple[Service, subprocess.Popen[bytes]]] = []
    deadline = time.monotonic() + START_S
    try:
        for service in services:
            process = _spawn(service, root)
            waiting.append((service, process))
            process_entry = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
            service_entry = {"address": f"http://{HOST}:{service.port}", "work": str((root / ".work").resolve())}
            started[service.name] = {**service_entry, **service.record, **process_entry}
        while waiting:
            time.sleep(POLL_S)
            waiting = [pair for pair in waiting if not _answers(*pair, root, late=time.monotonic() > deadline)]
    except BaseException:
        _stop(started)
        raise
    return started


def _spawn(service: Service, root: Path) -> subprocess.Popen[bytes]:
    log = _log(service.name, root)
    log.parent.mkdir(parents=True, exist_ok=True)
    own = {name: value for name, value in os.environ.items() if name not in OVERRIDING}
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *service.command],
            cwd=root,
            env={**own, **NO_TELEMETRY, **service.environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _log(name: str, root: Path) -> Path:
    return root / logs.FOLDER / f"{name}.log"


def _keep_log(name: str, root: Path) -> Path:
    """Rename a dead service's log, so that the next start does not overwrite it; returns its path."""
    log = _log(name, root)
    return log.replace(log.with_suffix(".ended.log")) if log.exists() else log


def _answers(service: Service, process: subprocess.Popen[bytes], root: Path, *, late: bool) -> bool:
    """Whether a starting service answers; UserError if it has ended or is late."""
    if process.poll() is not None:
        lines = "\n".join(_log(service.name, root).read_text(errors="replace").splitlines()[-5:])
        what = f"{service.name} ended while starting, with code {process.returncode}"
        raise UserError(f"{_log(service.name, root)}: {what}. Last lines of its output:\n{lines}")
    if _is_healthy(service, root):
        return True
    if late:
        where = f"at http://{HOST}:{service.port}{service.health}" if service.port else "in its log"
        raise UserError(f"{_log(service.name, root)}: {service.name} did not answer {where} within {START_S:.0f} s.")
    return False


def _is_healthy(service: Service, root: Path) -> bool:
    if not service.port:
        return service.health in _log(service.name, root).read_text(errors="replace")
    connection = http.client.HTTPConnection(HOST, service.port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", service.health)
        return connection.getresponse().status == 200
    return False


def _stop(services: Entries) -> dict[str, int]:
    """End services by SIGTERM, then by SIGKILL; returns how many processes each one had."""
    families = {name: _family(entry["pid"], entry["started"]) for name, entry in services.items()}
    everyone = [process for family in families.values() for process in family]
    heads = [process for process in everyone if process.pid in {entry["pid"] for entry in services.values()}]
    for act, targets in (("terminate", heads), ("terminate", everyone), ("kill", everyone)):
        for process in targets:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, act)()
        deadline = time.monotonic() + STOP_S
        while any(map(is_running, targets)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    for entry in services.values():
        if "folder" in entry:
            shutil.rmtree(entry["folder"], ignore_errors=True)
    return {name: len(family) for name, family in families.items()}


def _family(pid: int, started: float) -> list[psutil.Process]:
    """The processes of a service's session and their children, also if the service itself has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(pid).create_time() - started) > 1:
            return []  # another process has the pid, so nothing of that session is left
    members: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == pid and process.create_time() > started - 1:
                members |= {process, *process.children(recursive=True)}
    return [process for process in members if is_running(process)]


def main() -> int:
    """Run `up` or `down`; returns the exit code."""
    command.set_up()
    parser = argparse.ArgumentParser(description="Start or stop Prefect, MLflow and Ray with their pages.")
    parser.add_argument("command", choices=["up", "down"])
    action = {"up": up, "down": down}[parser.parse_args().command]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else a kill during the start leaves services running

    def run() -> int:
        logs.configure("services", ROOT)
        with store.locked(ROOT / ".work/services.lock", "`make ui` or `make down`"):
            action(ROOT)
        return 0

    return command.run(run)


if __name__ == "__main__":
    sys.exit(main())
