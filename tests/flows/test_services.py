"""Services start on free ports, are known by process number and start time, and end with all they started."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows import _processes, services
from flows._run import Entries, live_services
from pipeline import store
from pipeline.errors import UserError

SLEEP = "import time; time.sleep(999)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); print(1, flush=True); {SLEEP}"


def write(root: Path, entries: Entries) -> None:
    store.write_json(root / ".work/services.json", entries)


def test_down_ends_the_service_and_its_children(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        parent = psutil.Process(process.pid)
        (child,) = parent.children()
        folder = tmp_path / "its"
        folder.mkdir()
        entry = {"address": "", "pid": parent.pid, "started": parent.create_time(), "folder": str(folder)}
        write(tmp_path, {"demo": entry})
        services.down(tmp_path)
        assert not _processes.is_running(parent)
        assert not _processes.is_running(child)
    assert not folder.exists()
    assert not (tmp_path / ".work/services.json").exists()
    assert "stopped demo (2 processes)" in capsys.readouterr().out


def test_down_leaves_a_stranger_with_the_same_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as process:
        stranger = psutil.Process(process.pid)
        write(tmp_path, {"demo": {"address": "", "pid": process.pid, "started": stranger.create_time() - 60}})
        services.down(tmp_path)
        assert _processes.is_running(stranger)
        process.kill()
    assert "demo had ended before" in capsys.readouterr().out


def test_services_go_with_a_moved_folder_and_stay_with_the_one_that_was_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, copied = (tmp_path / name for name in ("before", "after", "copied"))
    (before / ".work").mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True, cwd=before) as process:
        who = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        write(before, {"demo": {"address": "", "work": str(before / ".work"), **who}})
        assert set(live_services(before)) == {"demo"}
        shutil.copytree(before, copied)
        assert live_services(copied) == {}
        services.down(copied)
        assert _processes.is_running(psutil.Process(process.pid))
        before.rename(after)
        assert live_services(after) == {}  # it writes to where the folder was
        capsys.readouterr()
        services.down(after)
        assert not _processes.is_running(psutil.Process(process.pid))
    assert "stopped demo" in capsys.readouterr().out


def test_down_with_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    services.down(tmp_path)
    assert capsys.readouterr().out == "nothing was running\n"


def test_children_of_a_dead_service_are_still_found(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        parent = psutil.Process(process.pid)
        started, (child,) = parent.create_time(), parent.children()
        parent.kill()
    assert services._stop({"demo": {"pid": process.pid, "started": started}}) == {"demo": 1}
    assert not _processes.is_running(child)


def test_a_taken_port_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((services.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("MLFLOW_PORT", str(port))
        with pytest.raises(
            UserError, match=rf"127.0.0.1:{port}: is used by another program.* make ui MLFLOW_PORT={port + 1}"
        ):
            services._port("MLFLOW_PORT")
    assert services._port("MLFLOW_PORT") == port
    monkeypatch.setenv("MLFLOW_PORT", "tcp://10.0.0.1")
    with pytest.raises(UserError, match=r"MLFLOW_PORT: 'tcp://10.0.0.1' is not a port"):
        services._port("MLFLOW_PORT")


def test_a_service_that_dies_is_named_with_its_log(tmp_path: Path) -> None:
    service = services.Service("demo", ["-c", "raise SystemExit('no room')"], 9, "/", {})
    with pytest.raises(UserError, match=r"logs/demo.log: demo ended while starting(?s:.*)no room"):
        services._start([service], tmp_path)


def test_a_silent_service_is_ended_with_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "START_S", 0.5)
    with socket.socket() as unused:
        unused.bind((services.HOST, 0))
        service = services.Service("demo", ["-c", "import time; time.sleep(98.7)"], unused.getsockname()[1], "/", {})
        with pytest.raises(UserError, match=r"logs/demo.log: demo did not answer at http://127.0.0.1:\d+/ within"):
            services._start([service], tmp_path)
    children = psutil.Process().children()
    assert not any(_processes.is_running(child) and "time.sleep(98.7)" in child.cmdline()[-1] for child in children)


def test_a_service_without_a_port_answers_in_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "START_S", 20.0)
    code = "import time; print('now it is there', flush=True); time.sleep(99)"
    begun = services._start([services.Service("demo", ["-c", code], 0, "it is there", {})], tmp_path)
    assert services._stop(begun) == {"demo": 1}
    monkeypatch.setattr(services, "START_S", 0.5)
    with pytest.raises(UserError, match=r"logs/demo.log: demo did not answer in its log within"):
        services._start([services.Service("demo", ["-c", SLEEP], 0, "it is there", {})], tmp_path)


def test_the_last_words_of_a_dead_service_are_kept(tmp_path: Path) -> None:
    log = services._log("demo", tmp_path)
    assert services._keep_log("demo", tmp_path) == log
    log.parent.mkdir(parents=True)
    log.write_text("no room")
    assert services._keep_log("demo", tmp_path).read_text() == "no room"
    assert not log.exists()


@pytest.mark.slow
def test_up_and_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in services.PORTS:
        with socket.create_server((services.HOST, 0)) as free:
            monkeypatch.setenv(name, str(free.getsockname()[1]))
    # What serves the deployments needs a whole project: tests/flows/test_serve.py.
    code = f"print({services.SERVED!r}, flush=True); {SLEEP}"
    serve = services.Service("serve", ["-c", code], 0, services.SERVED, {})
    monkeypatch.setattr(services, "_serve", lambda root, prefect: serve)
    try:
        services.up(tmp_path)
        entries = json.loads((tmp_path / ".work/services.json").read_text())
        assert set(entries) == {"prefect", "mlflow", "ray", "serve"} == set(live_services(tmp_path))
        families = [
            process for entry in entries.values() for process in services._family(entry["pid"], entry["started"])
        ]
        sockets = [each for process in families for each in process.net_connections()]
        listening = {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
        services.up(tmp_path)
        assert "already up:" in capsys.readouterr().out
    finally:
        services.down(tmp_path)
    assert not any(map(_processes.is_running, families))
    assert not Path(entries["ray"]["folder"]).exists()
