"""First jobs of `convline add` beside the best of their peers: four data sets, equal minutes, equal weights.

`python -m benchmarks.strength --data DATA --weights FILE --work FOLDER` measures a cell after the other and prints a
table; a cell that stands in FOLDER/strength.json is not measured again. DATA has the folders of SETS. FILE has
published weights, named as their network in timm. Columns: what `add` wrote at the commit BEFORE, its presets `fast`
and `good`, the network of `good` from scratch, and a peer (peers.py) on the very images that `fast` prepared. The
score is that of the job with the best on val, on test, with its 95 % interval.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts import clone
from pipeline import safe_yaml, store

#: by name: the folder below DATA, and the task of the peer
SETS = {
    "signs": ("sign-language-digits", "classification"),
    "fashion": ("fashion-mnist", "classification"),
    "bccd": ("bccd", "detection"),
    "road": ("lums-road", "segmentation"),
}
COLUMNS = ("fast", "peer", "good", "before", "scratch")
#: the last commit whose recipes had neither published weights nor augmentation
BEFORE = "0c6ee7f"
#: the only set on which the network of `good` is trained from scratch too
FROM_SCRATCH = "signs"
#: of the 70,000 images of fashion-mnist: by the name of its files, how many
FASHION = {"train": 8000, "t10k": 2000}
#: how long a cell may take beside its minutes: starting, evaluation, register
BESIDE_S = 900.0


def main() -> int:
    """Measure the cells that are missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strength", description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="SET/COLUMN", help="which to measure; else all")
    for name, what in (
        ("data", "folder of the data sets"),
        ("weights", "published weights"),
        ("work", "where to work"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    parser.add_argument("--minutes", type=float, default=8, help="of a cell")
    chosen = parser.parse_args()
    path = chosen.work / "strength.json"
    measured = store.read_json(path, {})
    for name in SETS:
        for column in COLUMNS:
            cell = f"{name}/{column}"
            is_wanted = cell in chosen.cells if chosen.cells else column != "scratch" or name == FROM_SCRATCH
            if is_wanted and cell not in measured:
                measured[cell] = measure(name, column, chosen)
                store.write_json(path, measured)
                print(f"{cell}: {json.dumps(measured[cell])}", flush=True)
    print_table(measured)
    return 0


def measure(name: str, column: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One cell: the chosen job, its score, all jobs' scores, seconds by the clock, the machine's load before."""
    load, started = os.getloadavg()[0], time.monotonic()
    images = _images(name, chosen.data, chosen.work)
    folder = chosen.work / f"{name}-{column}"
    try:
        if column == "peer":
            from benchmarks.strength import peers

            prepared = chosen.work / f"{name}-fast/data/prepared" / name
            found = peers.best(SETS[name][1], prepared, chosen.weights, chosen.minutes * 60)
        elif column == "scratch":
            found = _from_scratch(folder, chosen.work / f"{name}-good", name, chosen)
        else:
            found = _added(folder, images, name, column, chosen)
    except (subprocess.SubprocessError, OSError) as error:
        found = {"failed": str(error)}
    return {**found, "load": round(load, 1), "seconds": round(time.monotonic() - started)}


def _added(folder: Path, images: Path, name: str, column: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Add the images to a new project, and run what was written."""
    shutil.rmtree(folder, ignore_errors=True)
    if column == "before":
        _run(folder.parent, "git", "clone", "-q", str(clone.ROOT), folder.name)
        _run(folder, "git", "checkout", "-q", BEFORE)
        shipped = set(_jobs(folder))
        _run(folder, sys.executable, "-m", "convline", "add", str(images), "--name", name)
        own = [job for job in _jobs(folder) if job not in shipped]
        settings = folder / "params.yaml"
        settings.write_text(settings.read_text().replace("roster: core", f"roster: [{', '.join(own)}]", 1))
        _run(folder, sys.executable, "-m", "flows.repro", seconds=chosen.minutes * 60 + BESIDE_S)
        return _results(folder, own)
    folder.mkdir()
    clone.copy_tree(folder)
    _run(folder, "git", "init", "-q")
    (folder / "weights").mkdir()
    shutil.copy(chosen.weights, folder / "weights")
    shipped = set(_jobs(folder))
    asked = ("--name", name, "--preset", column, "--minutes", f"{chosen.minutes:g}")
    _run(folder, sys.executable, "-m", "convline", "add", str(images), *asked)
    own = [job for job in _jobs(folder) if job not in shipped]
    _run(folder, sys.executable, "-m", "convline", "run", name, seconds=chosen.minutes * 60 + BESIDE_S)
    return _results(folder, own)


def _from_scratch(folder: Path, good: Path, name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """The network that `good` tuned, with the same settings but for its weights."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder, ignore=shutil.ignore_patterns("mlruns", "models", "jobs"), symlinks=True)
    settings = folder / "params.yaml"
    lines = settings.read_text().splitlines(keepends=True)
    start = next(at for at, line in enumerate(lines) if line.startswith(f"  {name}-tuned:"))
    lines.pop(next(at for at in range(start, len(lines)) if lines[at].strip().startswith("pretrained:")))
    settings.write_text("".join(lines))
    _run(folder, sys.executable, "-m", "convline", "run", f"{name}-tuned", seconds=chosen.minutes * 60 + BESIDE_S)
    return _results(folder, [f"{name}-tuned"])


def _results(folder: Path, jobs: list[str]) -> dict[str, Any]:
    """The job with the best score on val, its test score, and those of the others, expected and real seconds."""
    measured = {job: store.read_json(folder / "metrics" / f"{job}.json") for job in jobs}
    primary = next(iter(measured.values()))["primary"]
    values = {
        job: {"val": entry[f"val_{primary}"], **{key: entry[f"{primary}{key}"] for key in ("", "_low", "_high")}}
        for job, entry in measured.items()
    }
    best = max(jobs, key=lambda job: values[job]["val"])
    expected, speed = (store.read_json(folder / at, {}) for at in (".work/expected.json", "reports/speed.json"))
    real = {job: {"expected": expected.get(job), "real": speed.get(job, {}).get("train_s")} for job in jobs}
    ends = {"value": values[best][""], "low": values[best]["_low"], "high": values[best]["_high"]}
    return {"job": best, "metric": primary, **ends, "jobs": values, "times": real}


def _jobs(folder: Path) -> list[str]:
    return list(safe_yaml.load((folder / "params.yaml").read_text())["jobs"])


def _images(name: str, data: Path, work: Path) -> Path:
    """The folder to add; of fashion-mnist a part."""
    source = (data / SETS[name][0]).resolve()
    if name != "fashion":
        return source
    part = work / "fashion-mnist"
    part.mkdir(parents=True, exist_ok=True)
    for split, number in FASHION.items():
        for what, head in (("images-idx3", 16), ("labels-idx1", 8)):
            content = gzip.decompress((source / f"{split}-{what}-ubyte.gz").read_bytes())
            bytes_each = 784 if what == "images-idx3" else 1
            header = content[:4] + np.array([number], ">i4").tobytes() + content[8:head]
            (part / f"{split}-{what}-ubyte.gz").write_bytes(
                gzip.compress(header + content[head : head + number * bytes_each], mtime=0)
            )
    return part


def _run(folder: Path, *command: str, seconds: float = 900.0) -> None:
    """Run a command there; what it prints goes to the file `log` beside the project."""
    with Path(f"{folder}.log").open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, timeout=seconds, check=True)


def print_table(measured: dict[str, Any]) -> None:
    """The cells by set and column."""
    print(f"| set | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for name in SETS:
        cells = [_words(measured.get(f"{name}/{column}")) for column in COLUMNS]
        print(f"| {name} | {' | '.join(cells)} |")


def _words(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    if "failed" in entry:
        return "failed"
    score = f"{entry['metric']} {entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"
    return f"{score}, {entry['job']}, {entry['seconds'] / 60:.1f} min"


if __name__ == "__main__":
    sys.exit(main())
