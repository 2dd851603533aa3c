"""What is versioned, trained again where it is stale, in a git worktree of its own: `.work/retrain`.

The user's files are not touched. The worktree shares `.work/` and `mlruns/`, so that earlier results are found by
fingerprint there and here, and the registry is one. What counts is what git and DVC know: the branch's newest
commit, from its remote if there is one, with the images its .dvc files name.
"""

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from flows._commands import environment, ours
from pipeline import store, tracking
from pipeline.errors import UserError

log = logging.getLogger(__name__)

TREE = ".work/retrain"
DONE = ".work/retrained.json"
TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "replace"}


def newest(root: Path) -> str:
    """The commit to train: the upstream branch's where it is ahead of this one, else this one's."""
    if _ask(root, "git", "rev-parse", "--show-toplevel") != str(root.resolve()):
        raise UserError(f"{root}: retrain needs a git repository here. Run `git init`, add the files and commit.")
    here = _ask(root, "git", "rev-parse", "--verify", "--quiet", "HEAD")
    if not here:
        raise UserError(f"{root}: retrain trains what is committed, and nothing is. Run `git add` and `git commit`.")
    upstream = "@{upstream}"
    if _ask(root, "git", "rev-parse", "--verify", "--quiet", upstream):
        if subprocess.run(["git", "fetch", "--quiet"], cwd=root, check=False).returncode:
            log.warning("git fetch failed; going on with what is here")
        if _ask(root, "git", "merge-base", "HEAD", upstream) == here:
            return _ask(root, "git", "rev-parse", upstream)
    return here


def content(root: Path, commit: str) -> str:
    """The digest of all that a commit holds: code, params.yaml, and the .dvc files with the digests of images."""
    return _do(root, "git", "rev-parse", f"{commit}^{{tree}}")


def uncommitted(root: Path) -> list[str]:
    """Files that decide results and differ from the commit, so that a person may wonder."""
    changed = _ask(root, "git", "status", "--porcelain", "--", "params.yaml", "pipeline", "data/raw")
    return [line.split(maxsplit=1)[1] for line in changed.splitlines()]


def done(root: Path) -> str | None:
    """The content that the last whole retrain was of."""
    content: str | None = store.read_json(root / DONE, {}).get("content")
    return content


def note_done(root: Path, what: str) -> None:
    """Say that this content is trained."""
    store.write_json(root / DONE, {"content": what})


def lay_out(root: Path, commit: str) -> Path:
    """The worktree at this commit, with its images, and with the results of its dvc.lock as far as they are here."""
    tree = root.resolve() / TREE
    kept = [path.read_bytes() for path in (tree / "dvc.lock", root / "dvc.lock") if path.is_file()]
    if (tree / ".git").exists() and _repository(tree) == _repository(root):
        _do(tree, "git", "checkout", "--quiet", "--force", "--detach", commit)
    else:  # there is none; or it is that of another place, from which this project was moved or copied
        shutil.rmtree(tree, ignore_errors=True)
        _do(root, "git", "worktree", "prune")
        _do(root, "git", "worktree", "add", "--quiet", "--detach", str(tree), commit)
    for shared in (".work", tracking.FOLDER):
        (root / shared).mkdir(exist_ok=True)
        link, target = tree / shared, os.path.relpath(root.resolve() / shared, tree)  # it moves with the project
        if not link.is_symlink() or link.readlink() != Path(target):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    if kept and not _ask(tree, "git", "ls-files", "dvc.lock"):
        store.write_bytes(tree / "dvc.lock", kept[0])
    own = root / ".dvc/config.local"  # where a remote's secrets are
    if own.exists():
        shutil.copy(own, tree / ".dvc/config.local")
    _do(tree, "dvc", "cache", "dir", "--quiet", "--local", _do(root, "dvc", "cache", "dir"))
    bring = "pull" if _ask(tree, "dvc", "config", "core.remote") else "checkout"
    _do(tree, "dvc", bring, "--quiet", "--force", "--allow-missing")
    return tree


def _repository(folder: Path) -> Path:
    """The git folder that a tree is of."""
    return (folder / _ask(folder, "git", "rev-parse", "--git-common-dir")).resolve()


def stale(tree: Path) -> list[str]:
    """Stages whose inputs or outputs changed since they were run; register, which always runs, is none of them."""
    found = json.loads(_do(tree, "dvc", "status", "--json"))
    return sorted(name for name, changes in found.items() if changes != ["always changed"])


def _ask(folder: Path, *command: str) -> str:
    """What a command prints; nothing where it fails."""
    done = subprocess.run(ours(command), cwd=folder, capture_output=True, check=False, env=_environment(), **TEXT)
    return done.stdout.strip() if done.returncode == 0 else ""


def _do(folder: Path, *command: str) -> str:
    """The same; UserError where it fails."""
    done = subprocess.run(ours(command), cwd=folder, capture_output=True, check=False, env=_environment(), **TEXT)
    if done.returncode:
        raise UserError(f"{folder}: `{' '.join(command)}` failed: {done.stderr.strip()[-1500:]}")
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    """Without what git gives to hooks: it would point at another repository."""
    return {name: value for name, value in environment().items() if not name.startswith("GIT_")}
