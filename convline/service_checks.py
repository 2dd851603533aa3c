"""The checks of `convline doctor` on the services of `make ui`: processes, ports, logs, flow runs, schedules."""

import http.client
import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from convline.findings import Finding, Findings
from flows import services
from flows._prefect_checks import idle_schedules, orphaned_runs
from flows._run import alive, entries, live_services
from pipeline import logs
from pipeline.terminal import escape

ERROR, LINE = re.compile(r"\bERROR\b"), 300


def check_services(root: Path) -> Findings:
    """Whether the services of services.json run and answer, and which ports other programs use."""
    running = entries(root)
    for name, entry in running.items():
        if not alive(entry["pid"], entry["started"]):
            what = f"{name}: .work/services.json names its process {entry['pid']}, which has ended"
            yield Finding(what, f"make down; the last lines of its output are in .work/logs/{name}.log")
        elif name not in live_services(root):
            yield Finding(f"{name}: still runs in {entry['work']}, where this project was", "make down && make ui")
        elif not _answers(entry["address"]):
            what = f"{name}: its process {entry['pid']} runs, but nothing answers at {entry['address']}"
            yield Finding(what, f"make down && make ui; its output is in .work/logs/{name}.log")
        else:
            yield f"{name} up at {entry['address']}"
    if not running:
        yield "none was started"
    yield from _errors(root)
    for name, variable in {"prefect": "PREFECT_PORT", "mlflow": "MLFLOW_PORT", "ray": "RAY_DASHBOARD_PORT"}.items():
        port = int(os.environ.get(variable, services.PORTS[variable]))
        with socket.socket() as probe:
            if name not in running and probe.connect_ex((services.HOST, port)) == 0:
                yield f"port {port} is used by another program: start {name} by `make ui {variable}={port + 1}`"


def _errors(root: Path) -> Findings:
    """Lines with ERROR in the services' logs; each start of a service overwrites its log."""
    for path in sorted(path for name in services.NAMES for path in (root / logs.FOLDER).glob(f"{name}.*")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            errors = [line for line in lines if ERROR.search(line)]
        if errors:
            last = escape(errors[-1].strip())[:LINE]
            what = f"{path.stem}: {len(errors)} lines of {path.relative_to(root)} say ERROR, the last one: {last}"
            remedy = f"Read the lines around it. make down && rm {path.relative_to(root)} && make ui starts a new log."
            yield Finding(what, remedy)


def _answers(address: str) -> bool:
    url = urlsplit(address)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def check_prefect(root: Path) -> Findings:
    """Flow runs without a process, and schedules without a planned run; only Prefect's server knows them."""
    server = live_services(root).get("prefect")
    if server is None:
        yield "not checked: its server is down"
        return
    for name in orphaned_runs(root, server["address"]):
        what = f"flow run {name}: Prefect shows it running, but no process runs this stage"
        yield Finding(what, f"Cancel or delete it at {server['address']}/runs, then make repro.")
    for name in idle_schedules(root, server["address"]):
        what = f"schedule of {name}: it is active, but Prefect has planned no run"
        yield Finding(what, "Run convline doctor again in a minute; if no run is planned then, make down && make ui.")
