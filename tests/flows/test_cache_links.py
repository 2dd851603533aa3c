"""Outputs of stages are hard links to DVC's cache, and neither people nor stages change what it holds."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convline import raw
from flows.child_commands import environment
from pipeline import store

ROOT = Path(__file__).parents[2]
STAGE = """stages:
  make:
    cmd: cp source.txt out/source.txt
    deps: [source.txt]
    outs: [out: {persist: true}]
"""


def run(root: Path, *command: str) -> None:
    subprocess.run(command, cwd=root, check=True, capture_output=True, env=environment())


def dvc(root: Path, *arguments: str) -> None:
    run(root, sys.executable, "-m", "dvc", *arguments)


def damaged(root: Path) -> list[Path]:
    """Objects of the cache whose name is not the MD5 of what they hold."""
    objects = [path for path in (root / ".dvc/cache/files/md5").rglob("*") if path.is_file() and not path.suffix]
    assert objects
    return [path for path in objects if path.parent.name + path.name != hashlib.md5(path.read_bytes()).hexdigest()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    run(tmp_path, "git", "init", "-q")
    dvc(tmp_path, "init", "-q")
    shutil.copy(ROOT / ".dvc/config", tmp_path / ".dvc/config")
    return tmp_path


@pytest.mark.slow
def test_labels_that_are_edited_in_place_leave_the_cache_as_it_is(project: Path) -> None:
    labels = project / "data/raw/mine/labels.csv"
    labels.parent.mkdir(parents=True)
    labels.write_text("image,label\na.png,cat\n")
    raw.dvc_add(labels.parent, project)
    labels.chmod(0o644)
    with labels.open("r+") as file:  # as an editor does that keeps the file, and root may write any
        file.write("image,label\na.png,dog\n")
    assert damaged(project) == []


@pytest.mark.slow
def test_a_stage_that_runs_again_leaves_the_cache_as_it_is(project: Path) -> None:
    out = project / "out/images"

    def update(text: str) -> None:
        store.update(
            out, store.digest(text), project / ".work", lambda path: store.write_bytes(path / "a", text.encode())
        )

    (project / "dvc.yaml").write_text(STAGE)
    for text in ("one", "two", "one"):
        update(text)
        (project / "source.txt").write_text(text)
        dvc(project, "repro")
        assert (out / "a").read_text() == text
        assert (out / "a").stat().st_nlink > 1
        assert damaged(project) == []
