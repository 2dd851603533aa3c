"""How far a run that is stopped has come, in one line."""

from pathlib import Path

from pipeline import store


def stage(root: Path) -> str | None:
    """The stage that was begun last, unless it has ended well: then it wrote its times."""
    begun = {path: path.stat().st_mtime for path in (root / ".work/stages").glob("*.lock")}
    if not begun:
        return None
    last = max(begun, key=lambda path: begun[path])
    times = root / ".work/times" / f"{last.stem}.json"
    return None if times.exists() and times.stat().st_mtime >= begun[last] else last.stem


def stopped(root: Path, resumes: str) -> str:
    """`stopped: train, linear epoch 3/12; make repro resumes`."""
    last = stage(root)
    jobs = _jobs(root) if last == "train" else []
    return f"stopped: {', '.join([last or 'between two stages', *jobs])}; {resumes} resumes"


def _jobs(root: Path) -> list[str]:
    """Jobs that were in training, with the epochs that their checkpoints hold."""
    ledgers = [store.read_json(path) for path in sorted((root / ".work/jobs").glob("*/state.json"))]
    return [
        f"{entry['name']} epoch {entry.get('epoch') or 0:.0f}/{entry['epochs']}"
        for entry in ledgers
        if entry["state"] == "running" and {"name", "epochs"} <= entry.keys()
    ]
