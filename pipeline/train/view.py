"""The view: what a job's loader begins with, decoded and fitted once, and then read memory-mapped in every epoch.

A view's folder holds `images.npy`, the N×S×S×3 uint8 inputs, and `samples-*.arrow`, their annotations in pixels of the
input. Its name is the digest of all that decides it, so that jobs with the same data, `size` and `fit` share one. It is
made whole or not at all, and verified before each training: a damaged one is made again.
"""

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import plugins, processes, shards, store
from pipeline.augment.fit import Fit
from pipeline.fingerprint import compute_fingerprint
from pipeline.params import Job, Transforms
from pipeline.sample import Sample
from pipeline.train.job_state import JobSpec, JobState

#: all views of a project
FOLDER = ".work/views"
#: where the code begins that decides a view
WRITE = "pipeline.train.view:write"
IMAGES, SAMPLES = "images.npy", "samples"
#: samples that are held in memory at a time while a view is made
CHUNK = 256
#: stands for the image in the rows of annotations
NO_IMAGE = np.zeros((1, 1, 3), np.uint8)
#: a view that was used within so many seconds may be in use, and is not removed
IN_USE_S = 3600


def paths(job: Job, online: Transforms, prepared: Path, augmented: Path | None, root: Path) -> dict[str, Path]:
    """Where the views of a job's splits lie, by split; none where a transform needs more than the job's size."""
    for name in (name for entry in online for name in entry):
        if plugins.constant("augment.transforms", name, "BEFORE_FIT"):
            return {}
    files = {} if augmented is None else store.manifest(augmented)["files"]
    copies = {file: entry for file, entry in files.items() if file.startswith("copies-")}
    digest = store.content_digest(prepared)
    data: dict[str, list[Any]] = {"train": [digest, copies], "val": [digest]}
    decides = {"fit": [job.size, job.fit], "pillow": version("pillow")}
    return {
        split: root / FOLDER / compute_fingerprint((WRITE,), split=split, data=digests, **decides)
        for split, digests in data.items()
    }


def make(job_spec: JobSpec) -> None:
    """Make the views of a job that are missing, or damaged, and note in the job's state what was done."""
    stored = {split: shards.split(job_spec.prepared, split) for split in job_spec.views}
    if job_spec.augmented is not None and stored:
        stored["train"] = shards.Shards(stored["train"].paths + shards.split(job_spec.augmented, "copies").paths)
    fit = Fit(job_spec.job.size, job_spec.job.fit)
    done = {split: bring(path, stored[split], fit, job_spec.view_bytes) for split, path in job_spec.views.items()}
    if done:
        JobState.of(job_spec).note(view="; ".join(f"{split}: {what}" for split, what in done.items()))


def opened(path: Path | None) -> "View | None":
    """The view in a folder; None if there is none, and samples are decoded."""
    return View(path) if path is not None and path.is_dir() else None


class View(Sequence[Sample]):
    """The inputs of a split, by index; pickles as its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._samples = shards.split(path, SAMPLES)
        self._images = np.load(path / IMAGES, mmap_mode="r")

    def __reduce__(self) -> tuple[type["View"], tuple[Path]]:
        return View, (self.path,)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        return dataclasses.replace(self._samples[index], image=np.asarray(self._images[index]))


def bring(path: Path, stored: Sequence[Sample], fit: Fit, limit: int) -> str:
    """Make the view of a split if there is none, and say what was done; `path` does not exist where it can't be.

    Args:
        path: the view's folder, named by its digest, among all views.
        stored: the split's samples.
        fit: how they become inputs.
        limit: bytes that all views may take together.
    """
    needed = len(stored) * fit.side**2 * 3
    size = f"{len(stored):,} inputs of {fit.side}×{fit.side}, {needed / 1e6:,.0f} MB"
    with store.locked(path.parent / "lock", "the making of a view", wait=True):
        if store.holds(path, path.name):
            os.utime(path)
            return f"view of {size}, made before"
        shutil.rmtree(path, ignore_errors=True)
        store.sweep(path.parent)  # of a run that was killed
        free_up(path.parent, limit - needed)
        taken = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
        if needed + taken > limit:
            return f"no view of {size}: train.keep_gb allows {limit / 1e9:g} GB; images are decoded in every epoch"
        if shutil.disk_usage(path.parent).free < 2 * needed:
            return f"no view of {size}: the disk is nearly full; images are decoded in every epoch"
        started = time.monotonic()
        with store.folder(path, path.name) as made:
            write(made, stored, fit)
        return f"view of {size}, made in {time.monotonic() - started:.1f} s"


def free_up(folder: Path, limit: int) -> None:
    """Remove the least recently used views until the others fit; those that may be in use stay."""
    recent = {path.name for path in folder.glob("*/") if time.time() - path.stat().st_mtime < IN_USE_S}
    store.bound(folder, limit, recent)


def write(path: Path, stored: Sequence[Sample], fit: Fit) -> None:
    """Fill the folder of a view, on all cores: decoding and scaling leave Python to other threads."""
    shape = len(stored), fit.side, fit.side, 3
    images = np.lib.format.open_memmap(path / IMAGES, "w+", np.uint8, shape)

    def put(index: int) -> Sample:
        inner, _ = fit.forward(stored[index])
        images[index] = inner.pixels
        return dataclasses.replace(inner, image=NO_IMAGE)

    with ThreadPoolExecutor(processes.cores()) as threads:
        shards.write_shard(path / f"{SAMPLES}-00000.arrow", _in_chunks(threads, put, len(stored)))
    images.flush()


def _in_chunks(threads: ThreadPoolExecutor, write: Callable[[int], Sample], count: int) -> Iterator[Sample]:
    for start in range(0, count, CHUNK):
        yield from threads.map(write, range(start, min(start + CHUNK, count)))
