"""How far a run has come when it is stopped, in one line."""

from pathlib import Path

from pipeline import store


def last_stage(root: Path) -> str | None:
    """The stage that started last, or None if it has finished: a stage writes its times at its end."""
    started = {path: path.stat().st_mtime for path in (root / ".work/stages").glob("*.lock")}
    if not started:
        return None
    last = max(started, key=lambda path: started[path])
    times = root / ".work/times" / f"{last.stem}.json"
    return None if times.exists() and times.stat().st_mtime >= started[last] else last.stem


def stopped_message(root: Path, resumes: str) -> str:
    """`stopped: train, linear epoch 3/12; make repro resumes`."""
    last = last_stage(root)
    jobs = _running_jobs(root) if last == "train" else []
    return f"stopped: {', '.join([last or 'between two stages', *jobs])}; {resumes} resumes"


def _running_jobs(root: Path) -> list[str]:
    """Jobs in training, with the epochs that their checkpoints hold."""
    states = [store.read_json(path) for path in sorted((root / ".work/jobs").glob("*/state.json"))]
    return [
        f"{entry['name']} epoch {entry.get('epoch') or 0:.0f}/{entry['epochs']}"
        for entry in states
        if entry["state"] == "running" and {"name", "epochs"} <= entry.keys()
    ]
