"""`make repro`: runs the whole graph by `dvc repro`, then prints the results and where the time went.

Ends non-zero and names the jobs if any job failed. `--roster all` writes that roster into params.yaml first,
`--study NAME` adds a study to it (`studies`: all of them). `flows/serve.py` runs the same from the Prefect UI.
"""

import argparse
import logging
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

from flows import _processes, _progress, _shutdown
from flows._commands import environment, with_this_python
from flows._run import ENDING_S, ROOT, lock_with_retry
from pipeline import command, logs, params, plugins, preflight, store
from pipeline.errors import UserError

#: its `__name__` is `__main__` where it is run
log = logging.getLogger("flows.repro")

STAGES = ("prepare", "count", "augment", "train", "evaluate", "register", "report")
#: seconds that child processes have to end before they are killed
CHILDREN_S = 7.0


def main() -> int:
    """Run the graph; returns the exit code."""
    command.set_up()
    parser = argparse.ArgumentParser(description="Run the pipeline.")
    parser.add_argument("--roster", choices=["core", "all"], help="write this roster into params.yaml first")
    parser.add_argument("--study", help="add this study to the roster in params.yaml first; studies: all of them")
    parser.add_argument("--quiet", action="store_true", help="show warnings and errors only; .work/logs has the rest")
    arguments = parser.parse_args()
    if arguments.quiet:
        os.environ[logs.QUIET] = "1"
    os.chdir(ROOT)
    logs.configure("repro", ROOT)
    return command.run(lambda: run(arguments.roster, arguments.study))


def run(roster: str | None, study: str | None) -> int:
    """Run the graph, after these changes of the roster in params.yaml; returns the exit code."""
    started = time.time()
    preflight.check(ROOT, preflight.BEFORE_REPRO)
    shutdown = _shutdown.graceful_shutdown(grace_s=CHILDREN_S + 2)
    with shutdown as ancestors, command.end_when_unread(), lock_with_retry(lambda: lock(ROOT), "a repro or retrain"):
        end_previous_run(ROOT, ancestors.tag)
        if roster:
            write_roster(roster)
        if study:
            write_roster(add_study(params.read(), study))
        params.read()
        forget_failures(ROOT)
        code = _run_graph(ROOT, ancestors.tag)
    _log_times(started)
    if code:
        return code
    log.info(f"report: {ROOT / 'reports/index.html'}")
    failed = failures(ROOT)
    for name, reason in failed.items():
        log.error(f"failed: {name}: {reason}")
    return 1 if failed else 0


def _run_graph(root: Path, tag: str) -> int:
    """Run DVC; returns its exit code. If it or this process is stopped, all children end, and one line says so."""
    quiet = ["--quiet"] if os.environ.get(logs.QUIET) else []
    process = subprocess.Popen(with_this_python(["python", "-m", "flows._dvc", "repro", *quiet]), env=environment())
    try:
        code = process.wait()
    except SystemExit as stop:
        code = int(str(stop.code))
    if code == 0:
        return 0
    process.terminate()
    _processes.wait_for_end(tag, CHILDREN_S)
    _processes.kill(tag)
    code = 128 - code if code < 0 else code
    if 128 < code < 128 + signal.NSIG:
        log.warning(_progress.stopped_message(root, "make repro"))
        sys.exit(code)
    return code


def end_previous_run(root: Path, tag: str) -> None:
    """Wait for the processes of a repro that was killed, then kill them; remember the tag of this repro."""
    path = root / ".work/repro.json"
    last = store.read_json(path, {}).get("tag")
    if last is not None and _processes.with_tag(last):
        log.info("waiting for the processes of the last run to end")
        _processes.wait_for_end(last, ENDING_S)
        _processes.kill(last)
    store.write_json(path, {"tag": tag})


def commands(jobs: list[str], roster: list[str], *, force: bool) -> list[list[str]]:
    """The commands of a repro from the UI: the graph, or chosen jobs only; `force` trains again, before the graph."""
    train = ["python", "-m", "flows.train", *(jobs or roster), *(["--force"] if force else [])]
    if jobs:
        return [train]
    return [train, ["dvc", "repro"]] if force else [["dvc", "repro"]]


def lock(root: Path, *, wait: bool = False) -> AbstractContextManager[None]:
    """One repro or retrain at a time, from a terminal or from the UI."""
    return store.locked(root / ".work/repro.lock", "a repro or retrain", wait=wait)


def failures(root: Path) -> dict[str, str]:
    """Why jobs have no model, by name."""
    return {name: entry["reason"] for name, entry in store.read_json(root / "models/failed.json", {}).items()}


def forget_failures(root: Path) -> None:
    """Make DVC train again after temporary failures: it would skip a stage whose inputs are unchanged."""
    path = root / "models/failed.json"
    if any(entry["again"] for entry in store.read_json(path, {}).values()):
        path.unlink()


def add_study(settings: params.Params, study: str) -> str | list[str]:
    """The roster with a study added; UserError if there is no study of that name."""
    if study not in (studies := [*settings.studies, "studies"]):
        raise UserError(f"--study: {plugins.unknown('study', study, studies)}")
    roster = [settings.roster] if isinstance(settings.roster, str) else settings.roster
    return settings.roster if study in roster or "studies" in roster else [*roster, study]


def write_roster(roster: str | list[str]) -> None:
    """Replace the roster in params.yaml; all other lines stay unchanged."""
    text = params.FILE.read_text(encoding="utf-8")
    line = f"roster: {roster if isinstance(roster, str) else '[' + ', '.join(roster) + ']'}\n"
    written = re.search(r"^roster:.*\n(?:[ -].*\n)*", text, re.MULTILINE)
    start, end = written.span() if written else (0, 0)
    changed = text[:start] + line + text[end:]
    if changed != text:
        log.info(f"params.yaml: {line.strip()}")
        params.FILE.write_text(changed, encoding="utf-8")


def _log_times(started: float) -> None:
    """Log the seconds of this run by stage; the rest of the time is DVC and the start of processes."""
    total = time.time() - started
    spent: dict[str, float] = {}
    for stage in STAGES:
        path = ROOT / ".work/times" / f"{stage}.json"
        if path.exists() and path.stat().st_mtime >= started:
            times = store.read_json(path)
            spent[stage] = times["stage_s"]
            if "ray_s" in times:
                spent["train"] = times["stage_s"] - times["ray_s"]
                spent["Ray"] = times["ray_s"] - times["train_wall_s"]
                spent["training"] = times["train_wall_s"]
    spent["DVC and imports"] = total - sum(spent.values())
    log.info(f"{total:.1f} s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in spent.items()))


if __name__ == "__main__":
    sys.exit(main())
