"""Which commit is trained, and that it is laid out beside the user's files, not over them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows import retrain
from pipeline.errors import UserError

REPO = Path(__file__).parents[2]


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *identity, *command], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, name: str, text: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "-qm", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "params.yaml", "roster: all")
    return folder


def test_without_git_or_a_commit_the_remedy_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a git repository"):
        retrain.newest(tmp_path)
    git(tmp_path, "init", "-q")
    with pytest.raises(UserError, match="what is committed"):
        retrain.newest(tmp_path)


def test_without_a_remote_it_is_the_commit_at_hand(repository: Path) -> None:
    assert retrain.newest(repository) == git(repository, "rev-parse", "HEAD")


def test_a_remote_that_is_ahead_counts_and_own_commits_do_too(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repository), str(other))
    ahead = commit(repository, "params.yaml", "roster: core")
    assert retrain.newest(other) == ahead
    assert git(other, "rev-parse", "HEAD") != ahead  # fetched, but not put over the user's files
    own = commit(other, "own.txt", "own")
    assert retrain.newest(other) == own


def test_a_remote_out_of_reach_is_said(repository: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repository), str(other))
    repository.rename(tmp_path / "gone")
    assert retrain.newest(other) == git(other, "rev-parse", "HEAD")
    assert "git fetch failed" in capfd.readouterr().err


def test_content_is_that_of_files_not_of_their_history(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    commit(repository, "params.yaml", "roster: core")
    same = commit(repository, "params.yaml", "roster: all")
    assert retrain.content(repository, first) == retrain.content(repository, same)
    assert retrain.content(repository, first) != retrain.content(repository, f"{same}~")


def test_what_is_not_committed_is_named(repository: Path) -> None:
    assert retrain.uncommitted(repository) == []
    (repository / "params.yaml").write_text("roster: core")
    (repository / "notes.txt").write_text("mine")
    assert retrain.uncommitted(repository) == ["params.yaml"]


def test_a_status_that_can_not_be_had_is_no_clean_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'dvc.yaml is damaged' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(UserError, match=r"failed: dvc\.yaml is damaged"):
        retrain.stale(tmp_path)


def test_done_is_remembered(tmp_path: Path) -> None:
    assert retrain.trained_content(tmp_path) is None
    retrain.record_trained(tmp_path, "abc")
    assert retrain.trained_content(tmp_path) == "abc"


@pytest.fixture
def quiet_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for DVC, which takes seconds a call."""
    do, ask = retrain._run, retrain._output
    monkeypatch.setattr(retrain, "_run", lambda folder, *words: "" if words[0] == "dvc" else do(folder, *words))
    monkeypatch.setattr(retrain, "_output", lambda folder, *words: "" if words[0] == "dvc" else ask(folder, *words))


@pytest.mark.usefixtures("quiet_dvc")
def test_a_moved_and_a_copied_project_lay_out_a_tree_of_their_own(repository: Path, tmp_path: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    retrain.make_worktree(repository, head)
    copied, moved = tmp_path / "copied ü", tmp_path / "moved ü"
    shutil.copytree(repository, copied, symlinks=True)
    tree = retrain.make_worktree(copied, commit(copied, "params.yaml", "roster: core"))
    assert (tree / "params.yaml").read_text() == "roster: core"
    assert git(repository / retrain.TREE, "rev-parse", "HEAD") == head  # the other project's is as it was
    repository.rename(moved)
    retrain.make_worktree(moved, head)
    for root in (copied, moved):
        tree = root / retrain.TREE
        assert (tree / ".work").resolve() == root / ".work"
        assert (tree / "mlruns").resolve() == root / "mlruns"
        assert git(tree, "rev-parse", "--path-format=absolute", "--git-common-dir") == str(root / ".git")
    assert (moved / retrain.TREE / "params.yaml").read_text() == "roster: all"
    assert not repository.exists()


@pytest.mark.slow
@pytest.mark.skipif(not (REPO / ".venv/bin/dvc").exists(), reason="needs the environment that `make setup` makes")
def test_the_worktree_has_the_images_and_the_users_tree_keeps_its_state(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{REPO / '.venv/bin'}:{os.environ['PATH']}")
    (repository / "dvc.yaml").write_text("stages: {one: {cmd: cp data/raw/a.txt out.txt, deps: [data/raw/a.txt]}}\n")
    (repository / "data/raw").mkdir(parents=True)
    (repository / "data/raw/a.txt").write_text("an image")
    (repository / ".gitignore").write_text(".work/\nmlruns/\nout.txt\n")
    subprocess.run("dvc init -q && dvc add -q data/raw/a.txt && git add -A", shell=True, cwd=repository, check=True)
    git(repository, "commit", "-qm", "data")
    versioned = git(repository, "rev-parse", "HEAD")
    (repository / "params.yaml").write_text("mine: and not committed")
    before = git(repository, "status", "--porcelain")

    tree = retrain.make_worktree(repository, versioned)
    assert (tree / "data/raw/a.txt").read_text() == "an image"
    assert (tree / "params.yaml").read_text() == "roster: all"
    assert (tree / ".work").resolve() == (repository / ".work").resolve()
    assert retrain.stale(tree) == ["one"]
    subprocess.run(["dvc", "repro", "-q"], cwd=tree, check=True)
    assert retrain.stale(tree) == []

    (repository / "data/raw/a.txt").write_text("another image")
    assert retrain.stale(retrain.make_worktree(repository, versioned)) == []
    subprocess.run("dvc add -q data/raw/a.txt && git add data", shell=True, cwd=repository, check=True)
    git(repository, "commit", "-qm", "more")
    tree = retrain.make_worktree(repository, git(repository, "rev-parse", "HEAD"))
    assert (tree / "data/raw/a.txt").read_text() == "another image"
    assert retrain.stale(tree) == ["one"]
    assert git(repository, "status", "--porcelain") == before
    assert (repository / "params.yaml").read_text() == "mine: and not committed"
