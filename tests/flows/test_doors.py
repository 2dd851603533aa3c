"""Nobody gets into the services without their secrets: not another account, not a web page, not another machine."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from flows import passwords, services
from tests.helpers.served import Server, needs_environment, of, strays

pytestmark = [pytest.mark.slow, needs_environment]
another_account = pytest.mark.skipif(
    os.geteuid() != 0 or not (shutil.which("su") and shutil.which("curl")), reason="needs root, su and curl"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
JSON = ("-H", "Content-Type: application/json")
EVIL_STEPS = [{"prefect.deployments.steps.run_shell_script": {"script": "touch /tmp/owned"}}]


def ask(method: str, address: str, body: Any, *options: str, secret: str | None = None) -> str:
    """The status that curl is answered, run by the account `nobody`."""
    config = [f'url = "{address}"', f'request = "{method}"', "silent", 'output = "/dev/null"', "max-time = 60"]
    config.append('write-out = "%{http_code}"')
    if body is not None:
        config.append(f"data = {json.dumps(json.dumps(body))}")
    config += [f"header = {json.dumps(option)}" for option in options if option != "-H"]
    if secret is not None:
        config.append(f'user = "{secret}"')
    command = ["su", "-s", "/bin/sh", "nobody", "-c", "curl --config -"]
    done = subprocess.run(command, input="\n".join(config), cwd="/", capture_output=True, text=True, check=False)
    return done.stdout.strip()


def attacks(server: Server) -> dict[str, tuple[str, str, Any]]:
    """What a stranger would do: method, address and body, by what it does."""
    retrain = server.deployment("retrain")["id"]
    api, mlflow = f"{server.address}/api", f"{server.mlflow}/api/2.0/mlflow"
    return {
        "make a flow": ("POST", f"{api}/flows/", {"name": "evil"}),
        "change what a deployment runs": ("PATCH", f"{api}/deployments/{retrain}", {"pull_steps": EVIL_STEPS}),
        "start a run": ("POST", f"{api}/deployments/{retrain}/create_flow_run", {}),
        "read what runs": ("POST", f"{api}/flow_runs/filter", {}),
        "read settings": ("GET", f"{api}/admin/settings", None),
        "read experiments": ("POST", f"{mlflow}/experiments/search", {"max_results": 1}),
        "make an experiment": ("POST", f"{mlflow}/experiments/create", {"name": "evil"}),
        "make a user": ("POST", f"{mlflow}/users/create", {"username": "evil", "password": "evil-evil-evil"}),
        "see MLflow's page": ("GET", f"{server.mlflow}/", None),
        "run a job on Ray": (
            "POST",
            f"{server.entries['ray']['address']}/api/jobs/",
            {"entrypoint": "touch /tmp/owned"},
        ),
    }


def untouched(server: Server) -> None:
    """Nothing of what a stranger wanted is there."""
    evil = {"flows": {"name": {"any_": ["evil"]}}}
    assert server.call("POST", "/flows/filter", evil) == []
    assert not server.deployment("retrain")["pull_steps"]
    assert server.call("POST", "/flow_runs/filter", {"deployments": {"name": {"any_": ["retrain"]}}}) == []
    assert not Path("/tmp/owned").exists()


@another_account
def test_another_account_is_refused_however_it_asks(server: Server) -> None:
    for what, (method, address, body) in attacks(server).items():
        ways = [
            JSON,
            (),
            ("Content-Type:",),
            ("Host: evil.example", *JSON),
            ("Origin: http://evil.example", "Content-Type: text/plain"),
        ]
        refused = {way: ask(method, address, body, *way) for way in ways}
        assert refused[JSON] == "401", what
        assert set(refused.values()) <= {"401", "403"}, (what, refused)  # a foreign host or origin is told first
        assert ask(method, address, body, *JSON, secret="convline:convline") in {"401", "403"}, what  # 403 is Ray's
    untouched(server)


@another_account
def test_who_has_the_secret_gets_in(server: Server) -> None:
    ini = (server.folder / passwords.MLFLOW).read_text().splitlines()
    password = next(line.split(" = ")[1] for line in ini if line.startswith("admin_password"))
    method, address, body = attacks(server)["read experiments"]
    assert ask(method, address, body, *JSON, secret=f"{passwords.USER}:{password}") == "200"
    method, address, body = attacks(server)["read what runs"]
    assert ask(method, address, body, *JSON, secret=server.secret) == "200"


@another_account
def test_another_account_sees_health_and_no_secret(server: Server) -> None:
    for address in (f"{server.address}/api/health", f"{server.address}/api/ready", f"{server.mlflow}/health"):
        assert ask("GET", address, None) == "200"
    kept = [passwords.PREFECT, passwords.MLFLOW, passwords.MLFLOW_KEY, passwords.MLFLOW_USERS, passwords.RAY]
    for name in kept:
        shown = subprocess.run(
            ["su", "-s", "/bin/sh", "nobody", "-c", f"cat '{server.folder / name}'"], capture_output=True, check=False
        )
        assert shown.returncode != 0
        assert shown.stdout == b""


def test_no_log_and_no_list_of_processes_shows_a_secret(server: Server) -> None:
    ini = (server.folder / passwords.MLFLOW).read_text().splitlines()
    hidden = [next(line.split(" = ")[1] for line in ini if line.startswith("admin_password"))]
    hidden += [
        (server.folder / name).read_text().split(":")[-1]
        for name in (passwords.PREFECT, passwords.RAY, passwords.MLFLOW_KEY)
    ]
    read = [*(server.folder / ".work/logs").iterdir(), server.folder / ".work/services.json"]
    told = "\n".join(path.read_text(errors="replace") for path in read)
    told += "\n".join(" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    assert "deployments are served" in told
    assert not [number for number, text in enumerate(hidden) if text in told]


@pytest.mark.parametrize("place", ["events/in", "events/out", "logs/out"])
def test_a_websocket_without_the_secret_is_closed(server: Server, place: str) -> None:
    address = f"{server.address.replace('http', 'ws')}/api/{place}"
    with pytest.raises(InvalidStatus, match="403"), connect(address):
        raise AssertionError("must not open")
    for wrong in (None, "convline:wrong"):
        with connect(address, subprotocols=["prefect"]) as socket:  # type: ignore[list-item]
            socket.send(json.dumps({"type": "auth", "token": wrong}))
            with pytest.raises(ConnectionClosed, match="1008"):
                socket.recv(60)
    with connect(address, subprotocols=["prefect"]) as socket:  # type: ignore[list-item]
        socket.send(json.dumps({"type": "auth", "token": server.secret}))
        assert json.loads(socket.recv(60)) == {"type": "auth_success"}


@contextmanager
def page(folder: Path, text: str) -> Iterator[str]:
    """A web page of a stranger, on another port."""
    (folder / "index.html").write_text(text)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer((services.HOST, 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://localhost:{web.server_address[1]}/"
        web.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_web_page_makes_no_flow(server: Server, tmp_path: Path) -> None:
    body = """new Blob(['{"name": "evil"}'])"""  # without a type, for which a page needs nobody's leave
    send = f"fetch('{server.address}/api/flows/', {{method: 'POST', mode: 'no-cors', body: {body}}})"
    script = f"{send}.then(() => document.title = 'answered', why => document.title = 'lost: ' + why)"
    with page(tmp_path, f"<title>sent</title><script>{script}</script>") as address:
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=30000",
        ]
        done = subprocess.run(
            [str(CHROMIUM), *options, "--dump-dom", address], capture_output=True, text=True, check=True
        )
    assert "<title>answered</title>" in done.stdout
    assert server.call("POST", "/flows/filter", {"flows": {"name": {"any_": ["evil"]}}}) == []


def test_every_socket_is_of_this_machine_alone(server: Server) -> None:
    families = [one for entry in server.entries.values() for one in services._family(entry["pid"], entry["started"])]
    everyone = {*families, *map(psutil.Process, of(str(server.folder)))}
    names = " ".join(process.name() for process in everyone)
    assert all(one in names for one in ("gcs_server", "raylet", "DashboardAgent", "RuntimeEnvAgent", "python"))
    assert strays(everyone) == []
