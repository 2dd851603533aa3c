"""What a process does about its Ray: on the loopback where that is here, and ended where its heads have ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows._processes import ANCESTORS
from pipeline import cluster

REPO = Path(__file__).parents[1]
#: a process with a child of a head's name, and with a handler that another library would replace
DRIVER = """
import os, signal, subprocess, sys, time
from pipeline import cluster
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with cluster.starting():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
head = subprocess.Popen([sys.argv[1], "99"])
while not (name := open(f"/proc/{head.pid}/comm").read().strip()) == "raylet":
    time.sleep(0.01)
with cluster.end_together(lambda: None):
    head.kill()
    time.sleep(99)
"""

#: a process whose head has a child, as raylet has agents; it prints the child's number
KILLED = """
import subprocess, sys, time
import psutil
from pipeline import cluster
head = subprocess.Popen([sys.argv[1], "-c", "sleep 98 & wait"])
while not (children := psutil.Process(head.pid).children()):
    time.sleep(0.01)
with cluster.end_together(lambda: None):
    print(children[0].pid, flush=True)
    time.sleep(99)
"""


@pytest.mark.parametrize(
    ("address", "value"), [(None, "0"), ("local", "0"), ("127.0.0.1:6379", "0"), ("ray.example:6379", None)]
)
def test_a_ray_of_this_machine_stays_on_the_loopback(
    monkeypatch: pytest.MonkeyPatch, address: str | None, value: str | None
) -> None:
    monkeypatch.setattr(os, "environ", {} if address is None else {"RAY_ADDRESS": address})
    cluster.configure()
    assert os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == value
    assert cluster.ENVIRONMENT.items() <= os.environ.items()


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="names a process as Linux does")
def test_a_driver_whose_head_has_ended_ends_in_its_own_way(tmp_path: Path) -> None:
    (tmp_path / "raylet").symlink_to("/bin/sleep")
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "raylet")]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == "\nRay's raylet has ended; was it killed? The next run resumes.\n"
    assert done.returncode == 128 + signal.SIGTERM


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="names a process as Linux does")
def test_agents_of_a_killed_driver_end_at_once(tmp_path: Path) -> None:
    (tmp_path / "raylet").symlink_to("/bin/sh")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "raylet")]
    tagged = {**os.environ, ANCESTORS: "1@1.0"}
    with subprocess.Popen(command, cwd=REPO, env=tagged, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        agent = psutil.Process(int(driver.stdout.readline()))
        (head,) = [child for child in psutil.Process(driver.pid).children() if child.name() == "raylet"]
        (shell,) = [child for child in psutil.Process(driver.pid).children() if child.name() == "sh"]
        assert ANCESTORS not in shell.environ(), "a run that is told to end would kill it first"
        driver.kill()
    head.kill()  # as Ray sees to it
    psutil.wait_procs([agent], timeout=10)
    assert not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE


def test_what_raylet_reports_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    from ray._private import worker

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
        cluster.silence(worker)
        worker.print_to_stdstream({"lines": ["A worker died"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    assert capfd.readouterr() == ("", "")
