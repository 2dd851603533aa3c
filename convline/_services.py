"""What `convline doctor` says of what `make ui` starts: processes, ports, logs, flow runs and schedules."""

import http.client
import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from convline._findings import Detections, Finding
from flows import services
from flows._run import alive, entries, live_services
from flows._unattended import idle_schedules, unattended
from pipeline.terminal import shown

ERROR, LINE = re.compile(r"\bERROR\b"), 300


def check_services(root: Path) -> Detections:
    """What services.json says against what lives and answers, and the ports that others have."""
    known = entries(root)
    for name, entry in known.items():
        if not alive(entry["pid"], entry["started"]):
            what = f"{name}: .work/services.json names its process {entry['pid']}, which has ended"
            yield Finding(what, f"make down; its last words are in .work/logs/{name}.log")
        elif name not in live_services(root):
            yield Finding(f"{name}: goes on in {entry['work']}, where this project was", "make down && make ui")
        elif not _answers(entry["address"]):
            what = f"{name}: its process {entry['pid']} lives, but nothing answers at {entry['address']}"
            yield Finding(what, f"make down && make ui; its words are in .work/logs/{name}.log")
        else:
            yield f"{name} up at {entry['address']}"
    if not known:
        yield "none was started"
    yield from _errors(root)
    for name, variable in {"prefect": "PREFECT_PORT", "mlflow": "MLFLOW_PORT", "ray": "RAY_DASHBOARD_PORT"}.items():
        port = int(os.environ.get(variable, services.PORTS[variable]))
        with socket.socket() as probe:
            if name not in known and probe.connect_ex((services.HOST, port)) == 0:
                yield f"port {port} is another program's: for {name} take `make ui {variable}={port + 1}`"


def _errors(root: Path) -> Detections:
    """Lines of the services' logs that say ERROR; each start of a service begins its log anew."""
    for path in sorted((root / ".work/logs").glob("*.log")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            told = [line for line in lines if ERROR.search(line)]
        if told:
            last = shown(told[-1].strip())[:LINE]
            what = f"{path.stem}: {len(told)} lines of {path.relative_to(root)} say ERROR, the last one: {last}"
            remedy = f"Read the lines around it. make down && rm {path.relative_to(root)} && make ui begins anew."
            yield Finding(what, remedy)


def _answers(address: str) -> bool:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def check_prefect(root: Path) -> Detections:
    """Flow runs without a process, and schedules without a run; only its server knows them."""
    server = live_services(root).get("prefect")
    if server is None:
        yield "not looked at: its server is down"
        return
    for name in unattended(root, server["address"]):
        what = f"flow run {name}: Prefect shows it running, but no process runs this stage"
        yield Finding(what, f"Cancel or delete it at {server['address']}/runs, then make repro.")
    for name in idle_schedules(root, server["address"]):
        what = f"schedule of {name}: it is on, but Prefect has planned no run of it"
        yield Finding(what, "Look again in a minute; if it stays so, make down && make ui.")
