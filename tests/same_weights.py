"""Trains the same jobs at two commits on this machine and compares their weights, byte for byte.

`python -m tests.same_weights BASE HEAD SCRATCH`

The jobs are all of each commit's params.yaml, on few images and for at most two epochs. SCRATCH/<commit>/ is a clone,
SCRATCH/<commit>.txt what it printed, and SCRATCH/<commit>.json the sha256 of its models' weights. A commit that has the
last is not run again, and a run that was cut short goes on. Where BASE is HEAD, it is trained twice, which shows that
one commit gives the same weights each time. The exit code is 1 if any weights differ.

The compared code is not imported: of a commit only `dvc repro train`, its files of jobs and models/ are relied on.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.kills import REPO, clone

MOST_EPOCHS = 2
#: images of a split, of the formats that draw as many as they are asked for
IMAGES = {"train": 24, "val": 6, "test": 4}
DRAWN = ("scenes", "single")
#: one process with one thread trains one job after the other
ENVIRONMENT = {"RAY_OVERRIDE_RESOURCES": '{"CPU": 1}', "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
#: former names of jobs, and today's
RENAMED = {"mask_rcnn-points": "mask_rcnn-keypoints"}
#: by job: its task, and the sha256 of its weights
Digests = dict[str, list[str]]


def main() -> int:
    """Train both commits where that is not done, and print a row for each job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="a commit of this repository")
    parser.add_argument("head", metavar="HEAD", help="another, or the same")
    parser.add_argument("scratch", metavar="SCRATCH", type=Path, help="a folder; it is made where it is missing")
    arguments = parser.parse_args()
    base, head = (commit_of(name) for name in (arguments.base, arguments.head))
    names = (base[:8], head[:8] if head != base else f"{head[:8]}-again")
    digests = [
        train(commit, arguments.scratch.resolve() / name) for commit, name in zip((base, head), names, strict=True)
    ]
    lines, different = compare(*digests)
    print("\n".join([f"| job | task | {names[0]} | {names[1]} | equal |", "|---|---|---|---|---|", *lines]))
    print(f"\n{len(lines)} jobs, {len(different)} differ{': ' if different else ''}{', '.join(different)}")
    return 1 if different else 0


def commit_of(name: str) -> str:
    """The full name of a commit."""
    command = ["git", "rev-parse", "--verify", f"{name}^{{commit}}"]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout.strip()


def train(commit: str, folder: Path) -> Digests:
    """Train the jobs of a commit in a clone, unless that was done before; returns the digests of their weights."""
    results = folder.with_name(f"{folder.name}.json")
    if not results.exists():
        if not folder.exists():
            unfinished = folder.with_name(f".{folder.name}-{os.getpid()}")
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            clone(unfinished, commit)
            shorten(unfinished)
            unfinished.rename(folder)
        run(folder)
        part = results.with_suffix(".part")
        part.write_text(json.dumps(weights(folder), indent=1), encoding="utf-8")
        part.rename(results)
    return dict(json.loads(results.read_text(encoding="utf-8")))


def files(folder: Path) -> list[Path]:
    """params.yaml, and the files of params/ with jobs, which commits have since it was split."""
    return [folder / "params.yaml", *folder.glob("params/lineage.yaml")]


def shorten(folder: Path) -> None:
    """Change the files so that all jobs are trained, each in seconds; studies are left out."""
    for path in folder.glob("params/studies*.yaml"):
        path.unlink()
    yaml = YAML()
    for path in files(folder):
        params = yaml.load(path)
        if path.name == "params.yaml":
            params["roster"], params["studies"] = "all", {}
        for dataset in params.get("datasets", {}).values():
            if dataset["format"] in DRAWN:
                dataset["options"] = {**dataset.get("options", {}), **IMAGES}
        for job in params["jobs"].values():
            if "epochs" in job or "like" not in job:
                job["epochs"] = min(job["epochs"], MOST_EPOCHS)
        yaml.dump(params, path)


def run(folder: Path) -> None:
    """Run the stages up to train on a Ray of their own; SystemExit with their last words if they fail."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONVLINE", "MAKE", "RAY"))}
    with tempfile.TemporaryDirectory(prefix="same-", dir="/tmp") as ray, folder.with_suffix(".txt").open("ab") as log:
        path = f"{folder / '.venv/bin'}{os.pathsep}{kept['PATH']}"
        environment = {**kept, **ENVIRONMENT, "RAY_TMPDIR": ray, "PATH": path, "DVC_NO_ANALYTICS": "1"}
        command = ["dvc", "repro", "train"]
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)
    if done.returncode:
        words = folder.with_suffix(".txt").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise SystemExit(f"{folder.name}: dvc repro train failed:\n{words}")


def weights(folder: Path) -> Digests:
    """The digests of the models of all jobs; `missing` for a job that has none."""
    jobs: dict[str, Any] = {}
    for path in files(folder):
        jobs |= YAML(typ="safe", pure=True).load(path)["jobs"]
    digests = {}
    for name, job in jobs.items():
        path = folder / "models" / name / "weights.safetensors"
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
        while "task" not in job:
            job = jobs[job["like"]]
        digests[RENAMED.get(name, name)] = [job["task"], sha256]
    return digests


def compare(base: Digests, head: Digests) -> tuple[list[str], list[str]]:
    """A row for each job of either commit, and the names of those whose weights differ or are missing."""
    lines, different = [], []
    for name in [*base, *(name for name in head if name not in base)]:
        task = (base.get(name) or head[name])[0]
        first, second = (digests.get(name, ["", "missing"])[1] for digests in (base, head))
        equal = first == second != "missing"
        lines.append(f"| {name} | {task} | {first[:16]} | {second[:16]} | {'yes' if equal else 'NO'} |")
        different += [] if equal else [name]
    return lines, different


if __name__ == "__main__":
    sys.exit(main())
