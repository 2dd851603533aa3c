"""A whole run in bad surroundings: one sentence where it can't work, a way around where there is one, nothing left."""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.parts.clone import copy_tree

REPO = Path(__file__).parents[2]
BIN = REPO / ".venv/bin"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BIN / "dvc").exists(), reason="needs the environment that `make setup` makes"),
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree's files in a repository of their own, of one small job."""
    folder = tmp_path_factory.mktemp("clone")
    copy_tree(folder)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(
        text.replace("roster: core", "roster: [linear]").replace("epochs: 20", "epochs: 2")
    )
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def run(folder: Path, command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1", **more}
    line = ["bash", "-c", f"set -o pipefail; {command}"]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def test_without_git(clone: Path) -> None:
    (clone / ".git").rename(clone / "put-away")
    try:
        assert "Run `git init` there." in told(run(clone, "python -m flows.repro"))
    finally:
        (clone / "put-away").rename(clone / ".git")


def test_with_a_ray_that_is_gone(clone: Path) -> None:
    assert "nothing answers there" in told(run(clone, "python -m flows.repro", RAY_ADDRESS="127.0.0.1:9"))


def test_on_a_read_only_disk(clone: Path) -> None:
    script = f"mount --bind {clone} {clone} && mount -o remount,ro,bind {clone} && cd {clone} && python -m flows.repro"
    done = run(clone, f"unshare -m bash -c '{script}'")
    if "permitted" in done.stderr or "superuser" in done.stderr or "denied" in done.stderr:
        pytest.skip("needs root, to mount a disk")
    assert "can't be written to. Mount its disk writable" in told(done)


def test_with_a_long_folder_for_temporary_files(clone: Path, tmp_path: Path) -> None:
    long = tmp_path / ("slurm_job" * 10)
    long.mkdir()
    before = set(Path("/tmp").glob("ray-*"))
    done = run(clone, "python -m flows.repro", TMPDIR=str(long))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (clone / "models/linear/weights.safetensors").is_file()
    assert set(Path("/tmp").glob("ray-*")) <= before


def test_where_nobody_reads_on(clone: Path) -> None:
    done = run(clone, "python -m flows.repro | head -1")
    assert done.returncode == 141
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
