"""A clone of this tree with its services on free ports, and the calls that the pages make."""

import base64
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.parts import clone
from flows import passwords, services
from pipeline import store

REPO = Path(__file__).parents[2]
BIN = REPO / ".venv/bin"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
SHOWN = (
    *("Pending", "Paused", "Suspended", "Running", "Retrying", "Completed"),
    *("Cancelled", "Cancelling", "Crashed", "Failed", "TimedOut"),
)
needs_environment = pytest.mark.skipif(not (BIN / "dvc").exists(), reason="needs the environment of `make setup`")


class Server:
    """A clone with its services on free ports, and the calls that the UI makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = store.read_json(folder / ".work/services.json")
        self.address = self.entries["prefect"]["address"]
        self.mlflow = self.entries["mlflow"]["address"]
        self.secret = (folder / passwords.PREFECT).read_text()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        basic = base64.b64encode(self.secret.encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {basic}"}
        request = urllib.request.Request(f"{self.address}/api{path}", data, headers, method=method)

        def ask() -> Any:
            try:
                with urllib.request.urlopen(request) as answer:
                    return [json.loads(answer.read() or "null")]
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                return None  # its database is locked by another request; Prefect's own client asks again, too

        return wait(ask, 60.0)[0]

    def deployment(self, name: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/deployments/name/{name}/{name}"))

    def start(self, name: str, **parameters: Any) -> str:
        found = self.deployment(name)
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters, "enforce_parameter_schema": True}
        return str(self.call("POST", f"/deployments/{found['id']}/create_flow_run", body)["id"])

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/flow_runs/{run}")["state"])

    def shown(self, name: str) -> list[dict[str, Any]]:
        """A deployment's runs as its page lists them: by the names of states that Prefect itself gives."""
        states = {"operator": "and_", "name": {"any_": list(SHOWN)}}
        asked = {"deployments": {"name": {"any_": [name]}}, "flow_runs": {"state": states}, "sort": "START_TIME_DESC"}
        return list(self.call("POST", "/flow_runs/filter", asked))

    def end(self, run: str) -> dict[str, Any]:
        return wait(lambda: self.state(run) if self.state(run)["type"] in ENDED else None)

    def below(self, run: str) -> list[dict[str, Any]]:
        return list(self.call("POST", "/flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}))

    def stage(self, run: str, name: str) -> dict[str, Any]:
        return next(one for one in self.below(run) if one["name"] == name)

    def tasks(self, run: str) -> dict[str, str]:
        found = self.call("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return {one["name"]: one["state"]["type"] for one in found}

    def table(self, run: str, key: str) -> list[dict[str, Any]]:
        found = self.call("POST", "/artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return list(json.loads(next(one["data"] for one in found if one["key"] == key)))


def wait(ask: Callable[[], Any], limit_s: float = 900.0) -> Any:
    deadline = time.monotonic() + limit_s
    while (answer := ask()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return answer


def of(run: str) -> list[int]:
    """Processes with the run in their environment, under whatever name."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(run in value for value in process.environ().values()):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def strays(processes: Iterable[psutil.Process]) -> list[str]:
    """What these processes listen on that another machine could reach, of TCP and UDP."""
    found = []
    for process in processes:
        try:
            sockets = [one for one in process.net_connections("inet") if not one.raddr]
            name = process.name()
        except psutil.NoSuchProcess:
            continue
        own = ("127.0.0.1", "::1")
        found += [f"{name} {one.laddr}" for one in sockets if one.laddr.ip.removeprefix("::ffff:") not in own]
    return found


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Copy the tree, with the short roster and few epochs, and start its services."""
    clone.copy_tree(folder)
    text = (folder / "params.yaml").read_text()
    for old, new in (("roster: core", "roster: [linear, lenet5]"), ("epochs: 20", "epochs: 2")):
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "params.yaml").write_text(text)
    commit = "git init -q && git add -A && git -c user.name=a -c user.email=a@b commit -qm served"
    subprocess.run(commit, shell=True, cwd=folder, check=True)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    for name in services.PORTS:
        with socket.create_server((services.HOST, 0)) as free:
            environment[name] = str(free.getsockname()[1])
    ui = [str(BIN / "python"), "-m", "flows.services"]
    subprocess.run([*ui, "up"], cwd=folder, env=environment, check=True)
    try:
        yield Server(folder)
    finally:
        subprocess.run([*ui, "down"], cwd=folder, env=environment, check=True)
