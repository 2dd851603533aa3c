"""`make repro`: runs the whole graph by `dvc repro`, then prints the results and where the time went.

`python -m flows.repro WHAT…` runs these jobs in place of the roster, and all stages treat them as the roster's. Ends
non-zero and names the jobs if any job failed. `flows/serve.py` runs the same from the Prefect UI.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from flows import _processes, _progress, _shutdown, _unchanged, choose
from flows._run import ENDING_S, ROOT, lock_with_retry
from flows.child_commands import environment, with_this_python
from pipeline import command, logs, store

#: its `__name__` is `__main__` where it is run
log = logging.getLogger("flows.repro")

STAGES = ("prepare", "count", "augment", "train", "evaluate", "register", "report")
#: seconds that child processes have to end before they are killed
CHILDREN_S = 7.0


def main() -> int:
    """Run the graph; returns the exit code."""
    command.set_up()
    parser = argparse.ArgumentParser(description="Run the pipeline.")
    parser.add_argument("what", nargs="*", metavar="WHAT", help="jobs, data sets, studies, sets of jobs, or all")
    parser.add_argument("--force", action="store_true", help="train them again if they are up to date")
    parser.add_argument("--quiet", action="store_true", help="show warnings and errors only; .work/logs has the rest")
    arguments = parser.parse_args()
    if arguments.quiet:
        os.environ[logs.QUIET] = "1"
    os.chdir(ROOT)
    logs.configure("repro", ROOT)
    return command.run(lambda: run(arguments.what, force=arguments.force))


def run(words: Sequence[str], *, force: bool = False) -> int:
    """Run the graph for these words, or for the roster; `force` trains again. Returns the exit code."""
    started = time.time()
    if not force and _unchanged.is_unchanged(ROOT, words):
        log.info("nothing to do: all stages are up to date")
        for model, entry in store.read_json(ROOT / "reports/registered.json").items():
            log.info(f"champion of {model}: {entry['champion']['job'] if entry['champion'] else 'none'}")
        log.info(f"{time.time() - started:.1f} s")
    elif code := _run_stale(words, force=force, started=started):
        return code
    log.info(f"report: {ROOT / 'reports/index.html'}")
    failed = failures(ROOT)
    for name, reason in failed.items():
        log.error(f"failed: {name}: {reason}")
    return 1 if failed else 0


def _run_stale(words: Sequence[str], *, force: bool, started: float) -> int:
    """Check, choose the jobs and run the graph; returns the exit code."""
    from pipeline import preflight

    inputs = _unchanged.inputs(ROOT)
    preflight.check(ROOT, preflight.BEFORE_REPRO)
    shutdown = _shutdown.graceful_shutdown(grace_s=CHILDREN_S + 2)
    with shutdown as ancestors, command.end_when_unread(), lock_with_retry(lambda: lock(ROOT), "a repro or retrain"):
        end_previous_run(ROOT, ancestors.tag)
        choose_jobs(ROOT, words, force=force)
        forget_failures(ROOT)
        code = _run_graph(ROOT, ancestors.tag)
    _log_times(started)
    if code == 0:
        _unchanged.note(ROOT, "inputs", inputs)
    return code


def choose_jobs(root: Path, words: Sequence[str], *, force: bool = False) -> None:
    """Hand these words to the stage `choose`, if there are any; `force` removes the results of the jobs they name.

    UserError for a wrong word or another fault of params.yaml.
    """
    from pipeline import params

    settings = params.read(root / params.FILE)
    if words:
        settings = settings.choose(words)
        os.environ[choose.VARIABLE] = " ".join(words)
    if force:
        from pipeline.train import stage as train_stage

        train_stage.forget(settings, root, settings.resolve(settings.roster_words))


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
