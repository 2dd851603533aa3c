"""The deployments: what the form asks, and, slowly, what its answers do, through the API that the UI calls."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows import repro
from pipeline import store
from pipeline.errors import UserError
from pipeline.train.job_state import held
from tests.helpers.served import BIN, ENDED, Server, needs_environment, of, wait


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


def ended_stages(server: Server, run: str) -> list[str]:
    """The final states of a run's stages, in their order."""
    by_name = {one["name"]: one["state"]["type"] for one in server.below(run)}
    return [by_name[name] for name in repro.STAGES if name in by_name]


@pytest.mark.slow
@needs_environment
def test_a_cancelled_repro_leaves_nothing_and_the_next_resumes(server: Server) -> None:
    run = server.start("repro", jobs=["linear", "lenet5"])

    def mid_training() -> dict[str, Any] | None:
        assert server.state(run)["type"] not in ENDED
        states = [store.read_json(path) for path in server.folder.glob(".work/jobs/*/state.json")]
        return next((one for one in states if one["name"] == "lenet5" and (one.get("epoch") or 0) > 2), None)

    wait(mid_training)
    assert len(of(run)) > 1  # so that looking for them can fail
    train = server.stage(run, "train")
    wait(lambda: server.tasks(train["id"]).get("lenet5") == "RUNNING" or None, 60)  # its news comes by a thread
    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    server.call("POST", f"/flow_runs/{run}/set_state", cancelling)
    wait(lambda: True if of(run) == [] else None, 60)
    assert server.end(run)["type"] == "CANCELLED"
    assert ended_stages(server, run) == [*["COMPLETED"] * repro.STAGES.index("train"), "CANCELLED"]

    again = server.start("repro", jobs=["linear", "lenet5"])
    assert server.end(again)["type"] == "COMPLETED"
    states = [store.read_json(path) for path in server.folder.glob(".work/jobs/*/state.json")]
    assert next(one for one in states if one["name"] == "lenet5")["resumed_at_step"] > 0
    assert {row["job"]: row["score"].split()[0] for row in server.table(again, "jobs")} == {
        "linear": "test",
        "lenet5": "test",
    }


@pytest.mark.slow
@needs_environment
def test_a_suspended_repro_runs_nothing_and_resumes(server: Server) -> None:
    run = server.start("repro", jobs=["lenet5"], force=True)

    def in_training() -> bool | None:
        assert server.state(run)["type"] not in ENDED
        tasks = [server.tasks(child["id"]) for child in server.below(run)]
        return True if any(task.get("lenet5") == "RUNNING" for task in tasks) else None

    wait(in_training)
    until = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
    details = {"pause_timeout": until, "pause_reschedule": True}
    page_sends = {"state": {"type": "PAUSED", "name": "Suspended", "state_details": details}}
    assert server.call("POST", f"/flow_runs/{run}/set_state", page_sends)["status"] == "ACCEPT"

    wait(lambda: True if server.state(run)["message"] == "is being suspended" else None, 60)

    def suspended() -> bool | None:
        assert server.state(run)["type"] in ("RUNNING", "PAUSED")
        return True if server.state(run)["name"] == "Suspended" else None

    wait(suspended, 120)
    states = [
        store.read_json(path)["name"] for path in server.folder.glob(".work/jobs/*/state.json") if held(path.parent)
    ]
    assert states == []
    assert ended_stages(server, run) == [*["COMPLETED"] * repro.STAGES.index("train"), "CANCELLED"]
    wait(lambda: True if of(run) == [] else None, 60)  # the flow's own process is the last
    assert server.state(run)["name"] == "Suspended"

    server.call("POST", f"/flow_runs/{run}/resume", {})
    assert server.end(run)["type"] == "COMPLETED"


@pytest.mark.slow
@needs_environment
def test_a_full_repro_takes_them_up_and_retrain_then_has_nothing_to_do(server: Server) -> None:
    run = server.start("repro")
    assert server.end(run)["type"] == "COMPLETED"
    below = server.below(run)
    assert sorted(one["name"] for one in below) == sorted(repro.STAGES)
    assert {one["state"]["type"] for one in below} == {"COMPLETED"}
    assert server.tasks(server.stage(run, "train")["id"]) == {}  # nothing was left to train
    assert all(row["score"].startswith("test top1") and row["MLflow"] for row in server.table(run, "jobs"))
    status = subprocess.run(
        [BIN / "dvc", "status", "--json"], cwd=server.folder, capture_output=True, text=True, check=True
    )
    assert json.loads(status.stdout) == {name: ["always changed"] for name in ("choose", "register")}
    again = server.start("retrain")
    state = server.end(again)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed")  # Prefect's pages hide other names
    assert state["message"].startswith("nothing to do: commit")
    assert again in [one["id"] for one in server.shown("retrain")]


@pytest.mark.slow
@needs_environment
def test_a_schedule_begins_its_runs(server: Server) -> None:
    """Three runs of a minutely cron, which find nothing to do after a full repro."""
    deployment = server.deployment("retrain")
    assert [one["active"] for one in deployment["schedules"]] == [False]
    schedule = f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    server.call("PATCH", schedule, {"active": True, "schedule": {"cron": "* * * * *", "timezone": "UTC"}})

    def fired() -> list[dict[str, Any]] | None:
        begun = [one for one in server.shown("retrain") if one["auto_scheduled"]]
        assert {one["state"]["type"] for one in begun} <= {"PENDING", "RUNNING", "COMPLETED", "CANCELLED"}
        done = [one for one in begun if one["state"]["type"] == "COMPLETED"]
        return done if len(done) >= 3 else None

    try:
        for one in wait(fired):
            print(one["name"], one["expected_start_time"], one["state"]["name"], one["state"]["message"])
        doctor = [str(BIN / "python"), "-m", "convline", "doctor"]
        told = subprocess.run(doctor, cwd=server.folder, capture_output=True, text=True, check=False).stdout
        assert "\nprefect   fine" in told
    finally:
        server.call("PATCH", schedule, {"active": False})
    log = (server.folder / ".work/logs/prefect.log").read_text(errors="replace")
    assert "prefect.server.services" not in log, log[-4000:]  # where what plans runs says its errors


@pytest.mark.slow
@needs_environment
def test_a_wrong_job_is_refused_with_the_right_names(server: Server) -> None:
    state = server.end(server.start("repro", jobs=["lenet"]))
    assert state["type"] == "FAILED"
    assert "'lenet'; did you mean 'lenet5'" in state["message"]
