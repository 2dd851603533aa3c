"""Retrains what is stale of the branch's newest commit, in a git worktree of its own: `.work/retrain`.

The user's files are not touched. The worktree shares `.work/` and `mlruns/` with the project, so that both find earlier
results by fingerprint and use one registry. The commit is the upstream's if it is ahead, and the images are those that
its .dvc files name.
"""

import logging
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from flows import _unchanged
from flows.child_commands import environment, with_this_python
from pipeline import store, tracking
from pipeline.errors import UserError

log = logging.getLogger(__name__)

TREE = ".work/retrain"
DONE = ".work/retrained.json"
TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "replace"}


def newest(root: Path) -> str:
    """The commit to train: the upstream branch's if it is ahead of HEAD, else HEAD."""
    if _output(root, "git", "rev-parse", "--show-toplevel") != str(root.resolve()):
        raise UserError(f"{root}: retrain needs a git repository here. Run `git init`, add the files and commit.")
    here = _output(root, "git", "rev-parse", "--verify", "--quiet", "HEAD")
    if not here:
        raise UserError(f"{root}: retrain trains what is committed, and nothing is. Run `git add` and `git commit`.")
    upstream = "@{upstream}"
    if _output(root, "git", "rev-parse", "--verify", "--quiet", upstream):
        if subprocess.run(["git", "fetch", "--quiet"], cwd=root, check=False).returncode:
            log.warning("git fetch failed; continuing with the commits that are here")
        if _output(root, "git", "merge-base", "HEAD", upstream) == here:
            return _output(root, "git", "rev-parse", upstream)
    return here


def content(root: Path, commit: str) -> str:
    """git's digest of a commit's files: code, params.yaml, and the .dvc files with the digests of images."""
    return _run(root, "git", "rev-parse", f"{commit}^{{tree}}")


def uncommitted(root: Path) -> list[str]:
    """Changed files that would decide results, but are not in the commit."""
    changed = _output(
        root, "git", "status", "--porcelain", "--", "params.yaml", "params", "pipeline", "plugins", "data/raw"
    )
    return [line.split(maxsplit=1)[1] for line in changed.splitlines()]


def trained_content(root: Path) -> str | None:
    """The content of the last retrain that finished."""
    content: str | None = store.read_json(root / DONE, {}).get("content")
    return content


def record_trained(root: Path, content: str) -> None:
    """Record that this content is trained."""
    store.write_json(root / DONE, {"content": content})


def make_worktree(root: Path, commit: str) -> Path:
    """The worktree at this commit, with its images, and with those results of its dvc.lock that are here."""
    tree = root.resolve() / TREE
    kept = [path.read_bytes() for path in (tree / "dvc.lock", root / "dvc.lock") if path.is_file()]
    if (tree / ".git").exists() and _repository(tree) == _repository(root):
        _run(tree, "git", "checkout", "--quiet", "--force", "--detach", commit)
    else:  # there is none, or it belongs to the folder from which this project was moved or copied
        shutil.rmtree(tree, ignore_errors=True)
        _run(root, "git", "worktree", "prune")
        _run(root, "git", "worktree", "add", "--quiet", "--detach", str(tree), commit)
    for shared in (".work", tracking.FOLDER):
        (root / shared).mkdir(exist_ok=True)
        link, target = tree / shared, os.path.relpath(root.resolve() / shared, tree)  # it moves with the project
        if not link.is_symlink() or link.readlink() != Path(target):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    if kept and not _output(tree, "git", "ls-files", "dvc.lock"):
        store.write_bytes(tree / "dvc.lock", kept[0])
    own = root / ".dvc/config.local"  # which holds a remote's secrets
    if own.exists():
        shutil.copy(own, tree / ".dvc/config.local")
    _run(tree, "dvc", "cache", "dir", "--quiet", "--local", _run(root, "dvc", "cache", "dir"))
    fetch = "pull" if _output(tree, "dvc", "config", "core.remote") else "checkout"
    _run(tree, "dvc", fetch, "--quiet", "--force", "--allow-missing")
    return tree


def _repository(folder: Path) -> Path:
    """The git folder of a tree."""
    return (folder / _output(folder, "git", "rev-parse", "--git-common-dir")).resolve()


def stale(tree: Path) -> list[str]:
    """Stages whose inputs or outputs changed since their last run; not choose and register, which always run."""
    return [name for name in _unchanged.changed(_run(tree, "dvc", "status", "--json")) if name != "choose"]


def _output(folder: Path, *command: str) -> str:
    """A command's output; empty if it fails."""
    done = subprocess.run(
        with_this_python(command), cwd=folder, capture_output=True, check=False, env=_environment(), **TEXT
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _run(folder: Path, *command: str) -> str:
    """A command's output; UserError if it fails."""
    done = subprocess.run(
        with_this_python(command), cwd=folder, capture_output=True, check=False, env=_environment(), **TEXT
    )
    if done.returncode:
        raise UserError(f"{folder}: `{' '.join(command)}` failed: {done.stderr.strip()[-1500:]}")
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    """The environment without the variables that git gives to hooks: they would point at another repository."""
    return {name: value for name, value in environment().items() if not name.startswith("GIT_")}
