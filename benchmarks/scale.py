"""A data set of 1,000, 10,000 or 100,000 photographs through prepare, view, and an epoch of ResNet-20.

`python -m benchmarks.scale 1000 10000` makes that many JPEGs of 500×375 each (`--side 250` smaller ones) in a folder
that is removed afterwards (`--folder` says on which disk), runs each stage in a process of its own, and prints seconds,
peak memory and the disk's blocks; then prepare again with one image more, and DVC on the loose files and on a hundred
tars of them. As one of `python -m benchmarks` it compares prepare's seconds an image at two sizes.
"""

import argparse
import contextlib
import io
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts import measured_stage, photographs, ratios
from benchmarks.parts.measured_stage import Use, blocks
from pipeline import params, processes
from pipeline.prepare import stage as prepare_stage
from pipeline.sample import facts
from pipeline.train import loop, view
from pipeline.train import stage as train_stage
from pipeline.train.job_state import JobSpec
from pipeline.train.ranks import Ranks

TITLE = "prepare of 150 JPEGs, four times; ours of 600 at once, one process"
NEEDS = ()
SMALL, TIMES = 150, 4
WIDTH, TARS = 500, 100
JOB: dict[str, Any] = {
    "task": "classification",
    "architecture": "resnet",
    "options": {"depth": 20},
    "dataset": "photographs",
    "fit": "crop",
    "size": 32,
    "epochs": 1,
    "batch": 128,
}
PATH = "data/raw/photographs"
SOURCE = {"format": "image_folder", "path": PATH}
STAGES = ("prepare", "view", "epoch")


def measure() -> ratios.Ratio:
    """Prepare alone, into new folders."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few"), Path(folder, "many")
        photographs.make(few / PATH, range(SMALL), WIDTH)
        photographs.make(many / PATH, range(SMALL * TIMES), WIDTH)

        def few_times() -> None:
            for _ in range(TIMES):
                prepare_anew(few)

        return ratios.ratio(lambda: prepare_anew(many), few_times, 3)


def prepare_anew(root: Path, number: int = 1) -> None:
    """Prepare a project's photographs by this number of processes, whatever was done before."""
    from pipeline.prepare.make import make as make_prepared

    before, processes.cores = processes.cores, lambda: number
    try:
        with tempfile.TemporaryDirectory(dir=root) as folder:
            Path(folder, "made").mkdir()
            make_prepared(Path(folder, "made"), settings().datasets["photographs"], root)
    finally:
        processes.cores = before


def settings() -> params.Params:
    """One data set and one job."""
    return params.Params.model_validate({"datasets": {"photographs": SOURCE}, "jobs": {"photographs": JOB}})


def job_spec() -> JobSpec:
    """The job, in the project of the working folder."""
    written = settings()
    return train_stage.job_spec("photographs", written.jobs["photographs"], written, Path.cwd())


def stage(name: str) -> None:
    """Run a stage in the working folder."""
    with contextlib.redirect_stdout(io.StringIO()):
        if name == "prepare":
            prepare_stage.run(settings(), Path.cwd())
        elif name == "view":
            view.make(job_spec())
        else:
            torch.set_num_threads(processes.cores())
            loop.train(job_spec(), Ranks())


def main() -> int:
    """Print a table for each number of images."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="Seconds, memory, disk by size.")
    parser.add_argument("numbers", nargs="*", type=int, default=[1000], help="of images")
    parser.add_argument("--side", type=int, default=WIDTH, help="width of an image in pixels; three quarters high")
    parser.add_argument("--folder", type=Path, help="where to work")
    parser.add_argument("--no-dvc", action="store_true", help="without DVC on loose files and archives")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stage:
        stage(chosen.stage)
        return 0
    print(f"{processes.cores()} cores, load {os.getloadavg()[0]:.1f}; memory is without pages of files\n")
    print("| images | stage | s | images/s | peak MB | blocks MB |")
    print("|---|---|---|---|---|---|")
    for number in chosen.numbers:
        with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="scale-") as folder:
            _one_size(Path(folder), number, chosen.side, with_dvc=not chosen.no_dvc)
    return 0


def _one_size(root: Path, number: int, width: int, *, with_dvc: bool) -> None:
    started = time.perf_counter()
    photographs.make(root / PATH, range(number), width)
    raw = root / "data/raw"
    _row(number, "make the JPEGs", Use(time.perf_counter() - started, 0), [raw])
    kept = {"prepare": ["data/prepared", ".work/prepare"], "view": [".work/views"], "epoch": [".work/jobs"]}
    for name in STAGES:
        used = measured_stage.run(["-m", "benchmarks.scale", "--stage", name], root)
        _row(number, name, used, [root / folder for folder in kept[name]])
    if with_dvc:
        _with_dvc(root, number)
    source = sum(path.stat().st_size for path in raw.rglob("*.jpg"))
    on_disk = blocks(root / folder for folder in ("data", ".dvc/cache", ".work/prepare"))
    photographs.make(root / PATH, range(number, number + 1), width)
    used = measured_stage.run(["-m", "benchmarks.scale", "--stage", "prepare"], root)
    _row(number + 1, "prepare with 1 image more", used, [root / folder for folder in kept["prepare"]])
    counts = facts(root / "data/prepared/photographs").counts
    inputs = (counts["train"] + counts["val"]) * int(JOB["size"]) ** 2 * 3
    print(f"\nviews / pixels of their inputs: {blocks([root / '.work/views']) / inputs:.3f}")
    print(f"data/raw, DVC's cache, prepared, .work/prepare / bytes of the JPEGs: {on_disk / source:.2f}\n", flush=True)


def _with_dvc(root: Path, number: int) -> None:
    """`dvc add` and `dvc status` of the loose files, and of tars of them in a project beside this one."""
    with tempfile.TemporaryDirectory(dir=root.parent) as other:
        files = sorted((root / PATH).rglob("*.jpg"))
        shards = Path(other, "data/raw/photographs")
        shards.mkdir(parents=True)
        size = -(-len(files) // TARS)
        for index in range(0, len(files), size):
            with tarfile.open(shards / f"{index // size:03d}.tar", "w") as packed:
                for path in files[index : index + size]:
                    packed.add(path, path.relative_to(root / PATH))
        for folder, what in ((root, "loose files"), (Path(other), f"{len(list(shards.iterdir()))} tars")):
            measured_stage.run(["-m", "dvc", "init", "--no-scm", "--quiet"], folder)
            for command in (["add", "--no-relink", "data/raw/photographs"], ["status"], ["status"]):
                used = measured_stage.run(["-m", "dvc", *command, "--quiet"], folder)
                _row(number, f"dvc {command[0]}, {what}", used, [folder / ".dvc"])


def _row(number: int, what: str, used: Use, folders: list[Path]) -> None:
    rate, peak = number / used.seconds, used.peak_bytes / 1e6
    disk = blocks(folders) / 1e6
    print(f"| {number:,} | {what} | {used.seconds:.1f} | {rate:,.0f} | {peak:,.0f} | {disk:,.1f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
