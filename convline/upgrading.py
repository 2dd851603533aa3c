"""What `convline upgrade` does: writes params.yaml of an earlier version in the form of this one.

All is computed and shown before any change; params.yaml is written last. Entries that params/ has as well are removed,
and those that the user changed stay: they replace those of params/. Which jobs run stays as it was.
"""

import difflib
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from convline import new_form
from pipeline import params, params_files, store, why
from pipeline.errors import UserError

log = logging.getLogger(__name__)

BACKUP, TRIAL = Path(".work/params.before-upgrade.yaml"), Path(".work/upgrade.params.yaml")
STATES = {
    "fresh": "is up to date",
    "stale": "trains anew",
    "new": "trains for the first time",
    "unknown": "trains anew: an earlier version trained it, and kept no record of what decided the result",
    "waiting": "can't be told before the stages that make its data have run",
}
#: reasons that are shown of a job
SHOWN = 5


def upgrade(root: Path, *, dry_run: bool, show: Callable[[str], None] = log.info) -> dict[str, Any]:
    """Upgrade the project's params.yaml; returns what changed, the difference, and how each chosen job stands.

    show: prints the difference.
    """
    path = root / params.FILE
    before, notes = read(root)
    (root / ".work").mkdir(exist_ok=True)
    with store.locked(root / ".work/repro.lock", "convline upgrade"):
        after, changes = new_form.convert(before, path, root / params_files.FOLDER)
        if after == params_files.read_text(path):
            log.info(f"{params.FILE}: has the form of this version, so there is nothing to do")
            return {"changes": [], "diff": "", "jobs": {}}
        store.write_bytes(root / TRIAL, after.encode())
        try:
            settings = params.read(root / TRIAL, empty=True, folder=root / params_files.FOLDER)
            diff = difference(before, after)
            show(diff)
            log.info("\n".join([f"{params.FILE}:", *(f"  {line}" for line in [*notes, *changes])]))
            explained = explain(settings, root)
            if not dry_run:
                store.write_bytes(root / BACKUP, before.encode())
                store.write_bytes(path, after.encode())
                log.info(f"{params.FILE} is written, and your old one is {BACKUP}")
                log.info(f"next: {'git add params.yaml, git commit, and then ' if notes else ''}convline run")
        finally:
            (root / TRIAL).unlink(missing_ok=True)
    return {"changes": [*notes, *changes], "diff": diff, "jobs": explained}


def read(root: Path) -> tuple[str, list[str]]:
    """The user's params.yaml, and where it is from if a merge by Git left both versions in the file."""
    path = root / params.FILE
    text = params_files.read_text(path)
    if not params_files.conflicted(text):
        return text, []
    own = 3 if ">>>>>>> Stashed changes" in text or _rebasing(root) else 2
    try:
        text = _git(root, "show", f":{own}:./{params.FILE}")
    except (OSError, subprocess.CalledProcessError) as error:
        what = "has conflict markers, and Git has no version of yours for it"
        remedy = f"Write your version of before the merge, as in `git show ORIG_HEAD:{params.FILE} > {params.FILE}`"
        raise UserError(f"{params.FILE}: {what}. {remedy}.") from error
    return text, ["both versions were in it after a merge: yours is taken, and what is new in the other is in params/"]


def _rebasing(root: Path) -> bool:
    """Whether a rebase is under way, in which `ours` is the other side."""
    try:
        folders = [_git(root, "rev-parse", "--git-path", name).strip() for name in ("rebase-merge", "rebase-apply")]
    except (OSError, subprocess.CalledProcessError):
        return False
    return any((root / folder).exists() for folder in folders)


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, encoding="utf-8", check=True).stdout


def difference(before: str, after: str) -> str:
    """The lines that change, as `diff -u` shows them."""
    old, new = (text.splitlines(keepends=True) for text in (before, after))
    return "".join(difflib.unified_diff(old, new, f"a/{params.FILE}", f"b/{params.FILE}"))


def explain(settings: params.Params, root: Path) -> dict[str, str]:
    """Say how each chosen job stands: what the next run trains, and why."""
    try:
        explanations = why.explain(settings, root, [*settings.selected()])
    except UserError as error:
        log.warning(f"what trains anew can't be told: {error}")
        return {}
    log.info("the next run:" if explanations else "the next run has no job")
    for name, explanation in explanations.items():
        log.info(f"  {name} {STATES[explanation.state]}")
        for line in _reasons(explanation):
            log.info(f"    {line}")
    return {name: explanation.state for name, explanation in explanations.items()}


def _reasons(explanation: why.Explanation) -> Iterator[str]:
    for reason in explanation.reasons[:SHOWN]:
        yield f"{reason.kind} {reason.name}: {reason.before} → {reason.now}"
    if len(explanation.reasons) > SHOWN:
        yield f"and {len(explanation.reasons) - SHOWN} more; `convline why` lists them"
    yield from explanation.notes
