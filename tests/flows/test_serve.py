"""The deployments: what the form asks, and, slowly, what its answers do, through the API that the UI calls."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import repro, services
from pipeline import store
from pipeline.errors import UserError

REPO = Path(__file__).parents[2]
BIN = REPO / ".venv/bin"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
needs_environment = pytest.mark.skipif(not (BIN / "dvc").exists(), reason="needs the environment of `make setup`")


def test_what_a_repro_runs() -> None:
    roster = ["a", "b"]
    train = ["python", "-m", "flows.train"]
    assert repro.commands([], roster, force=False) == [["dvc", "repro"]]
    assert repro.commands(["a"], roster, force=False) == [[*train, "a"]]
    assert repro.commands(["a"], roster, force=True) == [[*train, "a", "--force"]]
    assert repro.commands([], roster, force=True) == [[*train, "a", "b", "--force"], ["dvc", "repro"]]


def test_one_repro_at_a_time(tmp_path: Path) -> None:
    with (
        repro.lock(tmp_path),
        pytest.raises(UserError, match="a repro or retrain is already running"),
        repro.lock(tmp_path),
    ):
        raise AssertionError("must not run")
    with repro.lock(tmp_path):
        pass


def test_failures_that_may_pass_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "models/failed.json"
    for again in (False, True):
        store.write_json(path, {"a": {"reason": "no luck", "again": again}})
        assert repro.failures(tmp_path) == {"a": "no luck"}
        repro.forget_failures(tmp_path)
        assert path.exists() != again
    assert repro.failures(tmp_path) == {}


def test_the_form_asks_for_jobs_and_force_and_both_flows_end_what_they_start() -> None:
    from flows import serve

    asked = serve.run_repro.parameters.properties
    assert set(asked) == {"jobs", "force"}
    assert asked["jobs"]["type"] == "array"
    assert asked["jobs"]["items"] == {"type": "string"}
    assert asked["force"]["default"] is False
    assert all("description" in one for one in asked.values())
    for flow in (serve.run_repro, serve.run_retrain):
        assert flow.on_cancellation_hooks == flow.on_crashed_hooks == [serve.end_all]
        assert not flow.retries


def test_an_ended_job_ends_its_task_run() -> None:
    from flows import _jobs

    entry: dict[str, Any] = {"state": "done", "primary": "top1", "value": 0.5}
    assert (_jobs.end(entry).type, _jobs.end(entry).message) == ("COMPLETED", "top1 0.5000 on val")
    assert _jobs.end({"state": "failed", "reason": "no luck"}).type == "FAILED"
    assert "after 2.5 epochs; the next run resumes" in _jobs.end({"state": "running", "epoch": 2.5}).message


class Server:
    """A clone with its services on free ports, and the calls that the UI makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = store.read_json(folder / ".work/services.json")["prefect"]["address"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/api{path}", data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or "null")

    def start(self, name: str, **parameters: Any) -> str:
        found = self.call("GET", f"/deployments/name/{name}/{name}")
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters, "enforce_parameter_schema": True}
        return str(self.call("POST", f"/deployments/{found['id']}/create_flow_run", body)["id"])

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/flow_runs/{run}")["state"])

    def end(self, run: str) -> dict[str, Any]:
        return wait(lambda: self.state(run) if self.state(run)["type"] in ENDED else None)

    def below(self, run: str) -> list[dict[str, Any]]:
        return list(self.call("POST", "/flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}))

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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / name, folder / name)
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


@pytest.mark.slow
@needs_environment
def test_a_cancelled_repro_leaves_nothing_and_the_next_resumes(server: Server) -> None:
    run = server.start("repro", jobs=["linear", "lenet5"])

    def mid_training() -> dict[str, Any] | None:
        assert server.state(run)["type"] not in ENDED
        ledgers = [store.read_json(path) for path in server.folder.glob(".work/jobs/*/ledger.json")]
        return next((one for one in ledgers if one["name"] == "lenet5" and (one.get("epoch") or 0) > 2), None)

    wait(mid_training)
    assert len(of(run)) > 1  # so that looking for them can fail
    (child,) = server.below(run)
    assert server.tasks(child["id"])["lenet5"] == "RUNNING"
    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    server.call("POST", f"/flow_runs/{run}/set_state", cancelling)
    time.sleep(10)
    assert of(run) == []
    assert server.end(run)["type"] == "CANCELLED"
    assert [one["state"]["type"] for one in server.below(run)] == ["CANCELLED"]

    again = server.start("repro", jobs=["linear", "lenet5"])
    assert server.end(again)["type"] == "COMPLETED"
    ledgers = [store.read_json(path) for path in server.folder.glob(".work/jobs/*/ledger.json")]
    assert next(one for one in ledgers if one["name"] == "lenet5")["resumed_at_step"] > 0
    assert {row["job"]: row["score"].split()[0] for row in server.table(again, "jobs")} == {
        "linear": "val",
        "lenet5": "val",
    }
    assert not (server.folder / "dvc.lock").exists()
    assert not (server.folder / "models").exists()


@pytest.mark.slow
@needs_environment
def test_a_full_repro_takes_them_up_and_retrain_then_has_nothing_to_do(server: Server) -> None:
    run = server.start("repro")
    assert server.end(run)["type"] == "COMPLETED"
    below = server.below(run)
    assert sorted(one["name"] for one in below) == sorted(repro.STAGES)
    assert {one["state"]["type"] for one in below} == {"COMPLETED"}
    train = next(one for one in below if one["name"] == "train")
    assert server.tasks(train["id"]) == {}  # nothing was left to train
    assert all(row["score"].startswith("test top1") and row["MLflow"] for row in server.table(run, "jobs"))
    status = subprocess.run(
        [BIN / "dvc", "status", "--json"], cwd=server.folder, capture_output=True, text=True, check=True
    )
    assert json.loads(status.stdout) == {"register": ["always changed"]}
    state = server.end(server.start("retrain"))
    assert (state["type"], state["name"]) == ("COMPLETED", "Nothing to do")


@pytest.mark.slow
@needs_environment
def test_a_wrong_job_is_refused_with_the_right_names(server: Server) -> None:
    state = server.end(server.start("repro", jobs=["lenet"]))
    assert state["type"] == "FAILED"
    assert "no job is named 'lenet'; did you mean 'lenet5'" in state["message"]
