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
    cmd: python make.py
    deps: [source.txt, other.txt]
    outs: [out: {persist: true}]
"""
MAKE = """
from pathlib import Path
from pipeline import store
text = Path("source.txt").read_bytes()
make = lambda path: store.write_bytes(path / "a", text)
store.update(Path("out/images"), store.digest(text.decode()), Path(".work"), make)
"""


def run(root: Path, *command: str) -> None:
    subprocess.run(command, cwd=root, check=True, capture_output=True, env=environment() | {"PYTHONPATH": str(ROOT)})


def dvc(root: Path, *arguments: str) -> None:
    run(root, sys.executable, "-m", "dvc", *arguments)


def cached(root: Path, file: Path) -> Path:
    """The object of a file in DVC's cache."""
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    return root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


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
def test_outputs_are_links_and_a_stage_that_runs_again_leaves_the_cache_as_it_is(project: Path) -> None:
    (project / "dvc.yaml").write_text(STAGE)
    (project / "make.py").write_text(MAKE)
    for other, text in enumerate(["one", "one", "two", "one"]):
        (project / "source.txt").write_text(text)
        (project / "other.txt").write_text(str(other // 2))
        dvc(project, "repro")
        image = project / "out/images/a"
        assert image.read_text() == text
        assert image.samefile(project / ".work" / store.digest(text) / "a")
        assert image.samefile(cached(project, image))
        assert damaged(project) == []
