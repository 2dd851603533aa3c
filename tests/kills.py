"""27 kills of `make repro`: whatever is ended, and when, nothing lives on, the next run is let in, and ends the same.

`python -m tests.kills SCRATCH [--only N]… [--commit C]`

Minutes a kill; begun again with the same SCRATCH it goes on where it stopped. In SCRATCH/<commit>/: `run`, a clone
with two jobs of few epochs; `states/`, what it was before each stage of the undisturbed run, and after it
(`reference.json`); `results.jsonl`, a line a kill. A kill begins with the state before its stage.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from pipeline import store

REPO = Path(__file__).parents[1]
MARK = "CONVLINE_KILLTEST"
STAGES = ("prepare", "count", "augment", "train", "evaluate", "register", "report")
EPOCHS = {"linear": 6, "lenet5": 8}
GONE_S, RUN_S, LOOK_S = 10.0, 1200.0, 0.05
#: processes of Ray, whose end the run may survive: their commands begin so
RAY = {"worker": "ray::RayTrainWorker", "controller": "ray::TrainController", "raylet": "raylet", "gcs": "gcs_server"}
STACKS = re.compile(
    r'Traceback|^\s*File ".*", line|\*\*\* SIG|^\s*@ +0x|core_worker|\(raylet|StackTrace|PC: @', re.MULTILINE
)
#: folders below .work in which dead processes may have left temporary ones
TEMPORARY = ("prepare", "augment", "evaluations", "ray")
#: MLflow's measurements of this machine, which no two runs share
MEASURED = ("time/", "throughput/")


@dataclass(frozen=True)
class Kill:
    """Which signal hits whom at which stage; to `group` as Ctrl-C does; the next run may be begun at once."""

    signal: str
    target: str
    stage: str = "train"
    at_once: bool = False

    def __str__(self) -> str:
        return f"SIG{self.signal} to {self.target} at {self.stage}"


KILLS = (
    Kill("TERM", "make"),
    Kill("TERM", "repro"),
    Kill("KILL", "dvc"),
    Kill("KILL", "make", at_once=True),
    Kill("KILL", "repro", at_once=True),
    Kill("INT", "group"),
    Kill("INT", "repro"),
    Kill("TERM", "dvc"),
    Kill("INT", "dvc"),
    Kill("KILL", "stage"),
    Kill("TERM", "stage"),
    Kill("INT", "stage"),
    Kill("KILL", "worker"),
    Kill("TERM", "worker"),
    Kill("KILL", "controller"),
    Kill("TERM", "controller"),
    Kill("KILL", "raylet"),
    Kill("TERM", "raylet"),
    Kill("KILL", "gcs"),
    Kill("TERM", "gcs"),
    Kill("KILL", "stage", "prepare"),
    Kill("TERM", "make", "augment"),
    Kill("INT", "group", "count"),
    Kill("KILL", "stage", "evaluate"),
    Kill("INT", "group", "evaluate"),
    Kill("KILL", "stage", "register"),
    Kill("TERM", "repro", "report"),
)


class Run:
    """One `make repro` in a session of its own, and all processes that it ever had."""

    def __init__(self, folder: Path, log: str) -> None:
        self.mark, self.log = uuid.uuid4().hex, folder.parent / log
        self.seen: set[psutil.Process] = set()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONVLINE", "MAKE", "RAY"))}
        with self.log.open("wb") as file:
            self.process = psutil.Popen(
                ["make", "-o", ".venv/.ready", "repro"],
                cwd=folder,
                env={**kept, MARK: self.mark, "SHELL": "/bin/sh"},  # which may stay between DVC and a stage
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def living(self) -> list[psutil.Process]:
        """Processes that carry the mark, their children, and those seen before; some write over their environment."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process not in self.seen and process.environ().get(MARK) == self.mark:
                    self.seen |= {process, *process.children(recursive=True)}
        return [process for process in self.seen if runs(process)]

    def find(self, kill: Kill) -> psutil.Process | None:
        """The process that a kill is meant for."""
        for process in self.living():
            with contextlib.suppress(psutil.Error):
                if is_target(kill, process.cmdline()):
                    return process
        return None

    def output(self) -> str:
        """All that reached the terminal."""
        return self.log.read_text(errors="replace")

    def await_end(self, seconds: float) -> bool:
        """Whether make ends within these seconds."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                return False
            self.living()
            time.sleep(LOOK_S)
        return True

    def end(self) -> None:
        """Kill what is left."""
        for process in self.living():
            with contextlib.suppress(psutil.Error):
                process.kill()


def runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def is_target(kill: Kill, command: list[str]) -> bool:
    """Whether this is the command line of what a kill is meant for."""
    if not command:
        return False
    names, program = [Path(word).name for word in command], Path(command[0].split(" ")[0]).name
    if kill.target in ("make", "group"):
        return program == "make"
    if kill.target in RAY:
        return program.startswith(RAY[kill.target])
    python = program.startswith("python")
    if kill.target == "dvc":
        return python and ("flows._dvc" in names or "dvc" in names[:2])
    return python and f"flows.{kill.stage if kill.target == 'stage' else 'repro'}" in names


def ready(kill: Kill, folder: Path) -> bool:
    """Whether the stage is at its work: at train, that a job has ended an epoch and has others before it."""
    if not store.held(folder / ".work/stages" / f"{kill.stage}.lock"):
        return False
    if kill.stage != "train":
        return True
    names = ("state.json", "ledger.json")  # the second in commits before the file was renamed
    states = [store.read_json(path) for name in names for path in (folder / ".work/jobs").glob(f"*/{name}")]
    return any(1 <= (entry.get("epoch") or 0) < entry["epochs"] - 1 for entry in states if entry["state"] == "running")


def disturbed(kill: Kill, folder: Path) -> tuple[Run, list[str]]:
    """A run that was hit, and what is wrong with how it ended."""
    run, faults = Run(folder, "first.txt"), []
    deadline = time.monotonic() + RUN_S
    target = None
    while target is None or not ready(kill, folder):
        target = run.find(kill)
        if run.process.poll() is not None or time.monotonic() > deadline:
            return run, [f"was not hit: make ended with {run.process.poll()}"]
        time.sleep(LOOK_S)
    number = getattr(signal, f"SIG{kill.signal}")
    os.killpg(target.pid, number) if kill.target == "group" else target.send_signal(number)
    if kill.target in RAY and not run.await_end(RUN_S):
        faults.append(f"did not end within {RUN_S:.0f} s")
    if kill.at_once:
        return run, faults
    return run, faults + leftovers(run)


def leftovers(run: Run) -> list[str]:
    """Processes of a run that live after ten seconds."""
    deadline = time.monotonic() + GONE_S
    while (alive := run.living()) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    names = sorted({title(process) for process in alive if runs(process)})
    return [f"{len(names)} live after {GONE_S:.0f} s: {', '.join(names)}"] if names else []


def title(process: psutil.Process) -> str:
    """A process's name for people: the module that its Python runs, else its program."""
    with contextlib.suppress(psutil.Error):
        words = process.cmdline() or [process.name()]
        return next((word for word in words if word.startswith("flows.")), Path(words[0].split(" ")[0]).name)
    return "?"


def words(kill: Kill, run: Run) -> list[str]:
    """What is wrong with what a run printed, and with its exit code."""
    output, faults = run.output(), []
    if stack := STACKS.search(output):
        at = output.rfind("\n", 0, stack.start()) + 1
        faults.append(f"stack on the terminal: {output[at : at + 160]!r}")
    if kill.target in ("make", "group", "repro") and kill.signal != "KILL":
        told = re.findall(r"^stopped: .*", output, re.MULTILINE)
        if len(told) != 1:
            faults.append(f"says {len(told)} times what was reached")
        number = getattr(signal, f"SIG{kill.signal}")
        code = run.process.poll()
        if kill.target == "repro" and f"Error {128 + number}" not in output:
            faults.append(f"repro does not end with {128 + number}")
        if kill.target != "repro" and code not in (-number, 128 + number, 2):
            faults.append(f"make ended with {code}")
    return faults


def state(folder: Path) -> dict[str, Any]:
    """What a run leaves that a second run must leave just so."""
    manifests = sorted([*folder.glob("data/prepared/*/manifest.json"), *folder.glob("models/*/manifest.json")])
    files = [*manifests, *sorted((folder / "metrics").iterdir()), folder / "reports/registered.json"]
    lock = YAML(typ="safe", pure=True).load(folder / "dvc.lock")["stages"]
    hidden = [path for name in TEMPORARY for path in (folder / ".work" / name).glob(".*")]
    return {
        "files": {path.relative_to(folder).as_posix(): store.file_digest(path) for path in files},
        "dvc.lock": {
            f"{name}: {item['path']}": item["md5"]
            for name, stage in lock.items()
            for item in (*stage.get("deps", ()), *stage["outs"])
            if item["path"] != "reports/index.html"  # it tells seconds
        },
        "temporary": sorted(path.relative_to(folder).as_posix() for path in hidden),
        "mlflow": registry(folder / "mlruns/mlflow.db"),
    }


def registry(path: Path) -> dict[str, Any]:
    """MLflow's runs, versions and aliases, without its random numbers."""
    metrics = " and ".join(f"key not like '{name}%'" for name in MEASURED)
    asked = {
        "runs": "select name, status, lifecycle_stage from runs",
        "params": "select r.name, key, value from params p join runs r on r.run_uuid = p.run_uuid",
        "metrics": "select r.name, key, step, value from latest_metrics m join runs r on r.run_uuid = m.run_uuid "
        f"where {metrics}",
        "curves": "select r.name, key, count(*) from metrics m join runs r on r.run_uuid = m.run_uuid "
        f"where {metrics} group by 1, 2",
        "versions": "select v.name, r.name, v.status from model_versions v join runs r on r.run_uuid = v.run_id",
        "aliases": "select a.name, alias, r.name from registered_model_aliases a join model_versions v "
        "on v.name = a.name and v.version = a.version join runs r on r.run_uuid = v.run_id",
    }
    with contextlib.closing(sqlite3.connect(path)) as database:
        return {name: sorted(map(list, database.execute(query))) for name, query in asked.items()}


def differences(found: Any, wanted: Any, place: str = "") -> list[str]:
    """Where two states differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(found.keys() | wanted.keys())
        return [line for key in keys for line in differences(found.get(key), wanted.get(key), f"{place}/{key}")]
    if isinstance(found, list) and isinstance(wanted, list):
        more, less = ([item for item in one if item not in other] for one, other in ((found, wanted), (wanted, found)))
        same = not more and not less and len(found) == len(wanted)
        return [] if same else [f"{place}: has {more[:3]}, lacks {less[:3]}, {len(found)} for {len(wanted)}"]
    return [] if found == wanted else [f"{place}: {found} for {wanted}"]


def try_kill(kill: Kill, base: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Disturb a run and let the next one end it; what is wrong."""
    folder, began = base / "run", time.monotonic()
    restore(base / "states" / kill.stage, folder)
    first, faults = disturbed(kill, folder)
    if not any("was not hit" in fault for fault in faults):
        again = Run(folder, "again.txt")
        if kill.at_once:
            faults += leftovers(first)
        faults += words(kill, first)
        ended = again.await_end(RUN_S)
        output = again.output()
        if not ended or again.process.poll() != 0:
            faults.append(f"the next run ended with {again.process.poll()}: {output.strip()[-300:]!r}")
        else:
            faults += differences(state(folder), wanted)
        faults += leftovers(again)
        again.end()
    first.end()
    said = re.findall(r"^stopped: .*", first.output(), re.MULTILINE)
    return {"kill": str(kill), "faults": faults, "said": said, "seconds": round(time.monotonic() - began)}


def clone(folder: Path, commit: str) -> None:
    """A commit of this repository in a new folder, with this environment."""
    subprocess.run(["git", "clone", "-q", str(REPO), str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "checkout", "-q", commit], check=True)
    (folder / ".venv").symlink_to((REPO / ".venv").resolve())


def lay_out(base: Path, commit: str) -> None:
    """The clone, with two jobs of few epochs, and nothing that make would set up."""
    folder = base / "run"
    clone(folder, commit)
    for name in ("requirements.lock", "pyproject.toml"):
        os.utime(folder / name, (0, 0))
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["roster"] = list(EPOCHS)
    params["datasets"] = {"digits": params["datasets"]["digits"]}
    params["jobs"] = {name: {**params["jobs"][name], "epochs": epochs} for name, epochs in EPOCHS.items()}
    params["studies"] = {}
    yaml.dump(params, folder / "params.yaml")
    for path in folder.glob("params/*.yaml"):
        path.write_text("jobs: {}\n", encoding="utf-8")


def restore(source: Path, target: Path) -> None:
    """A copy of a state, at the place where it was: MLflow keeps addresses."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def undisturbed(base: Path) -> dict[str, Any]:
    """The states before each stage, and the one after all."""
    folder, environment = base / "run", {**os.environ, "PATH": f"{REPO / '.venv/bin'}:{os.environ['PATH']}"}
    for name in STAGES:
        if not (base / "states" / name).exists():
            (base / "states").mkdir(exist_ok=True)
            restore(folder, base / "states" / f".{name}")
            (base / "states" / f".{name}").rename(base / "states" / name)
        if name != STAGES[-1]:
            with (base / "before.txt").open("ab") as file:
                command = ["dvc", "repro", name]
                subprocess.run(command, cwd=folder, env=environment, stdout=file, stderr=file, check=True)
    run = Run(folder, "reference.txt")
    if not run.await_end(RUN_S) or run.process.poll() != 0:
        raise SystemExit(f"the undisturbed run failed:\n{run.output()[-2000:]}")
    reference = state(folder)
    store.write_json(base / "reference.json", reference)
    return reference


def main() -> int:
    """Run the kills that have no result yet; returns 0 if none has faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--only", type=int, action="append", help="this kill alone, by its number; may be repeated")
    parser.add_argument("--commit", default="HEAD", help="of this repository")
    asked = parser.parse_args()
    found = subprocess.run(["git", "rev-parse", asked.commit], cwd=REPO, capture_output=True, text=True, check=True)
    base = asked.scratch.resolve() / found.stdout[:8]
    if not (base / "run").exists():
        base.mkdir(parents=True, exist_ok=True)
        lay_out(base, found.stdout.strip())
    reference = store.read_json(base / "reference.json") or undisturbed(base)
    results = base / "results.jsonl"
    known = {
        entry["number"]: entry
        for entry in map(json.loads, results.read_text().splitlines() if results.exists() else [])
    }
    for number, kill in enumerate(KILLS, start=1):
        if number not in (asked.only or range(1, len(KILLS) + 1)):
            continue
        if number not in known:
            known[number] = {"number": number, **try_kill(kill, base, reference)}
            with results.open("a") as file:
                file.write(json.dumps(known[number]) + "\n")
        entry = known[number]
        print(
            f"{number:2} {entry['kill']:<34} {entry['seconds']:>4} s  {'; '.join(entry['faults']) or 'ok'}", flush=True
        )
    failed = [number for number, entry in known.items() if entry["faults"]]
    print(f"{len(known)} of {len(KILLS)} kills on {found.stdout[:8]}: {len(known) - len(failed)} ok, failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
