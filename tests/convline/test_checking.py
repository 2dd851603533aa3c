"""Each thing that can be wrong is found, with its remedy; a sound project gives nothing, and nothing is changed."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from convline import checking, service_checks
from convline.commands import doctor
from convline.findings import Finding, Findings
from flows import services
from pipeline import registered, store, tracking
from tests.helpers import support

#: a process that is surely gone: its number was another's at that time
GONE = {"pid": 1, "started": 1.0}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    support.write_params(tmp_path, {"linear": {}})
    (tmp_path / ".git").mkdir()
    (tmp_path / "requirements.lock").write_text(
        "psutil>=1 \\\n    --hash=sha256:0\nnone==1 ; python_version < '3' \\\n"
    )
    return tmp_path


def findings(check: Callable[[Path], Iterator[Any]], root: Path) -> list[Finding]:
    return [item for item in check(root) if isinstance(item, Finding)]


def notes(check: Callable[[Path], Iterator[Any]], root: Path) -> str:
    return "; ".join(item for item in check(root) if isinstance(item, str))


def write_job_state(root: Path, mark: str, **entries: Any) -> Path:
    work = root / ".work/jobs" / mark
    store.write_json(work / "state.json", {"name": mark, "pid": 1, **entries})
    (work / "lock").touch()
    return work


def test_a_sound_project(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path for path in root.rglob("*"))
    assert doctor.command() == 0
    assert capsys.readouterr().out.endswith("\nnothing found\n")
    assert sorted(path for path in root.rglob("*")) == before


def test_what_is_found_is_counted_and_reported_with_its_remedy(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_job_state(root, "lenet", state="running")
    (root / "params.yaml").write_text("jobs: {}\n")
    assert doctor.command() == 1
    out = capsys.readouterr().out
    assert "\n2 found\n" in out
    assert "datasets: missing" in out
    assert "make repro, which resumes it at its last epoch" in out


def test_findings_as_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_job_state(root, "lenet", state="running")
    assert doctor.command(json=True) == 1
    result = json.loads(capsys.readouterr().out)
    by_check = {check["check"]: check for check in result["checks"]}
    assert by_check.keys() == checking.CHECKS.keys()
    assert result["found"] == 1
    (finding,) = by_check["jobs"]["findings"]
    assert "lenet" in finding["what"]
    assert ".work/jobs/lenet" in finding["remedy"]
    assert "1 of 1 jobs" in by_check["settings"]["notes"][0]


def test_an_interrupted_job_is_taken_up_by_what_has_it(root: Path) -> None:
    support.write_params(root, {"in": {}, "out": {"seed": 1}}, roster=["in"])
    for name in ("gone", "in", "out"):
        write_job_state(root, name, state="running")
    assert [finding.remedy for finding in findings(checking.check_jobs, root)] == [
        "Put the job back into params.yaml, or rm -rf .work/jobs/gone",
        "make repro, which resumes it at its last epoch",
        "convline run out, which resumes it at its last epoch",
    ]


def test_a_check_that_breaks_is_reported_and_the_others_made(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(root: Path) -> Findings:
        yield "so far"
        raise RuntimeError("database disk image is malformed")

    monkeypatch.setattr(checking, "CHECKS", {"first": broken, "second": checking.check_dvc})
    assert doctor.command() == 1
    out = capsys.readouterr().out
    assert "the check ended with RuntimeError: database disk image is malformed" in out
    assert "second    fine" in out


def test_a_dataset_whose_folder_is_missing(root: Path) -> None:
    datasets = {"digits": {"format": "digits"}, "pets": {"format": "csv", "path": "data/raw/pets"}}
    support.write_params(root, {"linear": {}}, datasets=datasets)
    (finding,) = findings(checking.check_around, root)
    assert finding.what == "datasets.pets: data/raw/pets is missing"
    assert "dvc add data/raw/pets" in finding.remedy
    (root / "data/raw").mkdir(parents=True)
    (root / "data/raw/pets.dvc").write_text("outs:\n- {md5: abc.dir, path: pets}\n")
    (finding,) = findings(checking.check_around, root)
    assert "dvc pull data/raw/pets.dvc" in finding.remedy


def test_what_lies_around(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".git").rmdir()
    (root / "dvc.lock").write_text("<<<<<<< HEAD\n")
    (root / "data/raw").mkdir(parents=True)
    (root / "data/raw/pets.dvc").write_text("outs:\n- path: pets\n")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 60)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    around = findings(checking.check_around, root)
    assert [item.remedy.split("`")[1] for item in around[:3]] == [
        "git init",
        "git checkout --ours dvc.lock",
        "dvc pull data/raw/pets.dvc",
    ]
    assert around[3].what.startswith("RAY_ADDRESS=127.0.0.1:9: nothing answers there")
    assert "TMPDIR is too long" in notes(checking.check_around, root)
    assert "https_proxy set" in notes(checking.check_around, root)


def test_a_disk_that_refuses_is_reported_plainly(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(root: Path) -> Findings:
        yield "so far"
        raise OSError(errno.EROFS, "Read-only file system", str(root / ".work/mlflow.lock"))

    _, finding = checking._safely(refused, root)
    assert isinstance(finding, Finding)
    assert "mounted read-only" in finding.what


def test_packages_that_are_not_those_of_the_lock(root: Path) -> None:
    lock = root / "requirements.lock"
    lock.write_text("psutil==0.0.1 \\\n    --hash=sha256:0\nno-such-package==1 \\\n    --hash=sha256:0\nuv>=0\n")
    (finding,) = findings(checking.check_versions, root)
    assert finding.what.startswith(f"psutil {psutil.__version__} instead of ==0.0.1, no-such-package is missing")
    assert "make setup" in finding.remedy


def test_our_own_lock_is_met() -> None:
    assert not findings(checking.check_versions, Path(__file__).parents[2])


def test_a_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not findings(checking.check_disk, root)
    monkeypatch.setattr(checking, "FREE_BYTES", 10**18)
    assert ".work" in findings(checking.check_disk, root)[0].remedy


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_services_that_answer_and_that_ended(root: Path, page: str) -> None:
    assert "none was started" in notes(service_checks.check_services, root)
    me = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    entries = {"prefect": {"address": page, **me}, "ray": {"address": "http://127.0.0.1:9", **GONE}}
    store.write_json(root / ".work/services.json", entries)
    (finding,) = findings(service_checks.check_services, root)
    assert finding.what.startswith("ray: .work/services.json names its process 1, which has ended")
    assert finding.remedy.startswith("make down")
    assert f"prefect up at {page}" in notes(service_checks.check_services, root)


def test_a_service_that_lives_and_is_silent(root: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        me = {"pid": os.getpid(), "started": psutil.Process().create_time()}
        address = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        store.write_json(root / ".work/services.json", {"mlflow": {"address": address, **me}})
        (finding,) = findings(service_checks.check_services, root)
    assert "nothing answers at" in finding.what


def test_a_port_of_another_program_is_a_note(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind((services.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("MLFLOW_PORT", str(port))
        assert not findings(service_checks.check_services, root)
        assert f"`make ui MLFLOW_PORT={port + 1}`" in notes(service_checks.check_services, root)


def test_jobs_that_nothing_trains(root: Path) -> None:
    write_job_state(root, "done", state="done")
    work = write_job_state(root, "lenet", state="running")
    (finding,) = findings(checking.check_jobs, root)
    assert finding.what.startswith("job lenet: its state file says running (process 1), but nothing trains it")
    with (work / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not findings(checking.check_jobs, root)
        assert "1 in training" in notes(checking.check_jobs, root)


def test_damaged_models_and_failed_jobs(root: Path) -> None:
    with store.folder(root / "models/lenet", "mark") as path:
        (path / "weights").write_bytes(b"1234")
    assert not findings(checking.check_jobs, root)
    (root / "models/lenet/weights").write_bytes(b"1235")
    store.write_json(root / "models/failed.json", {"unet": {"reason": "the loss is not finite", "again": False}})
    failed, damaged = findings(checking.check_jobs, root)
    assert failed.what == "job unet failed: the loss is not finite"
    assert "its content has changed since" in damaged.what
    assert damaged.remedy == "rm -rf models/lenet && make repro"


def test_a_torn_lock_of_dvc(root: Path) -> None:
    path = root / checking.RWLOCK
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert not findings(checking.check_dvc, root)
    path.write_text('{"data/raw": {"read": [{"pid"')
    assert findings(checking.check_dvc, root)[0].remedy == "rm .dvc/tmp/rwlock"
    sleep = ["-c", "import time; print(1, flush=True); time.sleep(99)", "dvc"]
    with subprocess.Popen([sys.executable, *sleep], cwd=root, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert findings(checking.check_dvc, root)[0].remedy.startswith(f"Wait for process {other.pid}")
        other.kill()


def test_raw_files_that_are_links_to_the_cache_are_reported(root: Path) -> None:
    for name in ("linked", "own"):
        (root / "data/raw" / name / "inner").mkdir(parents=True)
        (root / "data/raw" / f"{name}.dvc").touch()
        (root / "data/raw" / name / "inner/labels.csv").write_text(name)
    (root / "cache").hardlink_to(root / "data/raw/linked/inner/labels.csv")
    text = notes(checking.check_dvc, root)
    assert "dvc unprotect data/raw/linked" in text
    assert "own" not in text


def test_flow_runs_without_a_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "its server is down" in notes(service_checks.check_prefect, root)
    me = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    store.write_json(root / ".work/services.json", {"prefect": {"address": "http://here", **me}})
    monkeypatch.setattr(service_checks, "orphaned_runs", lambda root, address: ["train"])
    monkeypatch.setattr(service_checks, "idle_schedules", lambda root, address: ["retrain"])
    run, schedule = findings(service_checks.check_prefect, root)
    assert run.what.startswith("flow run train: Prefect shows it running")
    assert "http://here/runs" in run.remedy
    assert schedule.what.startswith("schedule of retrain: ")


def test_errors_in_the_logs_of_services(root: Path) -> None:
    logs = root / ".work/logs"
    logs.mkdir(parents=True)
    (logs / "mlflow.log").write_text("INFO: all is well, no ERRORS\n")
    assert not findings(service_checks.check_services, root)
    lines = ["12:01 | ERROR | prefect: one", "12:02 | INFO | two", "12:03 | ERROR | \x1b[2Jthree\x07"]
    (logs / "prefect.log").write_bytes("\n".join(lines).encode() + b"\xff\n")
    (finding,) = findings(service_checks.check_services, root)
    assert finding.what.startswith("prefect: 2 lines of .work/logs/prefect.log say ERROR, the last one: 12:03")
    assert "\\x1b[2Jthree\\x07" in finding.what
    assert finding.what.isprintable()
    assert "make down" in finding.remedy


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A project with an MLflow database: making one takes seconds."""
    folder = tmp_path_factory.mktemp("tracked")
    return folder, tracking.client(folder)


def test_runs_that_disagree_with_their_job_states(tracked: tuple[Path, Any]) -> None:
    root, client = tracked
    settings = {"task": "classification", "architecture": "linear", "dataset": "digits"}
    assert not findings(checking.check_mlflow, root)
    states = {"stopped": ("running", None), "gone": ("failed", "FINISHED"), "sound": ("done", "FINISHED")}
    for mark, (state, status) in states.items():
        write_job_state(root, mark, state=state)
        run = tracking.run(client, root, mark, mark, settings)
        if status is not None:
            run.end(status)
    told = [finding.what for finding in findings(checking.check_mlflow, root)]
    assert told == [
        "run gone: its state file says failed, but MLflow says FINISHED",
        "run stopped: MLflow shows it running, but nothing trains it",
    ]
    with (root / ".work/jobs/stopped/lock").open() as one, (root / ".work/jobs/sound/lock").open() as other:
        for file in (one, other):
            fcntl.flock(file, fcntl.LOCK_EX)
        told = [finding.what for finding in findings(checking.check_mlflow, root)]
    assert told == [
        "run gone: its state file says failed, but MLflow says FINISHED",
        "run sound: is in training, but MLflow says FINISHED",
    ]


def test_a_champion_that_mlflow_does_not_have(tracked: tuple[Path, Any]) -> None:
    root, client = tracked
    entry = {"champion": {"job": "linear", "fingerprint": "a" * 64}}
    store.write_json(root / registered.FILE, {"digits-classification": entry})

    def told() -> list[str]:
        return [
            finding.what for finding in findings(checking.check_mlflow, root) if finding.what.startswith("champion")
        ]

    assert told() == [f"champion of digits-classification: {registered.FILE} has {'a' * 12}, MLflow has none"]
    client.create_registered_model("digits-classification")
    for number, mark in enumerate(("b" * 64, "a" * 64), start=1):
        tags = {tracking.FINGERPRINT: mark}
        client.create_model_version("digits-classification", f"file://{root}", tags=tags)
        client.set_registered_model_alias("digits-classification", "champion", str(number))
        assert bool(told()) == (number == 1)


def test_a_job_state_that_is_no_json_is_a_finding(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = write_job_state(root, "torn", state="running")
    (work / "state.json").write_text(json.dumps({"state": "running"})[:-3])
    assert doctor.command() == 1
    assert "state.json: damaged JSON" in capsys.readouterr().out


def test_an_experiment_that_was_deleted(tracked: tuple[Path, Any]) -> None:
    root, client = tracked
    support.write_params(root, {"linear": {}})
    number = tracking.experiment(client, root, "digits", "classification")
    client.delete_experiment(number)
    told = [finding for finding in findings(checking.check_mlflow, root) if "deleted" in finding.what]
    assert [finding.what for finding in told] == ["the experiment digits/classification is deleted in MLflow"]
    assert "make repro, which restores it" in told[0].remedy
    client.restore_experiment(number)


def test_a_damaged_database(root: Path) -> None:
    (root / "mlruns").mkdir()
    (root / "mlruns/mlflow.db").write_bytes(b"no database" * 1000)
    (finding,) = findings(checking.check_mlflow, root)
    assert "the database of MLflow is damaged" in finding.what
