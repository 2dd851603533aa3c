"""The view: what a job's loader begins with, decoded and fitted once, and then read memory-mapped in every epoch.

A view's folder holds `images.npy`, the uint8 pixels of all images one after the other, `shapes.npy`, their heights and
widths, and `samples-*.arrow`, their annotations. Each image is an input of the job, or, where random parts of it become
inputs, a reduced copy. A view's name is the digest of all that decides it, so that jobs with the same data, `size` and
`fit` share one. It is made whole or not at all, and verified before each training: a damaged one is made again.
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
from numpy.typing import NDArray

from pipeline import plugins, processes, shards, store
from pipeline.augment.fit import Fit, Reduction, Start
from pipeline.fingerprint import compute_fingerprint
from pipeline.params import Job, Transforms
from pipeline.sample import Sample
from pipeline.train.job_state import JobSpec, JobState, State

#: all views of a project
FOLDER = ".work/views"
#: where the code begins that decides a view
WRITE = "pipeline.train.view:write"
IMAGES, SHAPES, SAMPLES = "images.npy", "shapes.npy", "samples"
#: samples that are held in memory at a time while a view is made
CHUNK = 256
#: stands for the image in the rows of annotations
NO_IMAGE = np.zeros((1, 1, 3), np.uint8)
#: a view that was used within so many seconds may be in use, and is not removed
IN_USE_S = 3600


def paths(job: Job, online: Transforms, prepared: Path, augmented: Path | None, root: Path) -> dict[str, Path]:
    """Where the views of a job's splits lie, by split."""
    files = {} if augmented is None else store.manifest(augmented)["files"]
    copies = {file: entry for file, entry in files.items() if file.startswith("copies-")}
    digest = store.content_digest(prepared)
    data: dict[str, list[Any]] = {"train": [digest, copies], "val": [digest]}
    return {
        split: root / FOLDER / compute_fingerprint((WRITE,), split=split, data=digests, **_decides(job, online, split))
        for split, digests in data.items()
    }


def _decides(job: Job, online: Transforms, split: str) -> dict[str, Any]:
    """What decides a view besides its data and the code."""
    begins = start(job, online, split)
    fit = ["reduced", begins.short] if isinstance(begins, Reduction) else [job.size, job.fit]
    return {"fit": fit, "pillow": version("pillow")}


def start(job: Job, online: Transforms, split: str) -> Start:
    """What a job's loader begins with: inputs, or copies of images of which random parts become inputs."""
    names = (name for entry in online for name in entry)
    if split == "train" and any(plugins.constant("augment.transforms", name, "BEFORE_FIT") for name in names):
        from pipeline.augment.policy import Policy  # brings albumentations

        least_side = Policy(online).least_side
        if least_side is not None:
            return Reduction.of(job.size, least_side)
    return Fit(job.size, job.fit)


def make(job_spec: JobSpec, state: State | None = None) -> None:
    """Make the views of a job that are missing, or damaged, and note in the job's state what was done."""
    stored = {split: shards.split(job_spec.prepared, split) for split in job_spec.views}
    if job_spec.augmented is not None and stored:
        stored["train"] = shards.Shards(stored["train"].paths + shards.split(job_spec.augmented, "copies").paths)
    done = {
        split: bring(path, stored[split], start(job_spec.job, job_spec.policy, split), job_spec.view_bytes)
        for split, path in job_spec.views.items()
    }
    if done:
        (state or JobState.of(job_spec)).note(view="; ".join(f"{split}: {what}" for split, what in done.items()))


def opened(path: Path | None) -> "View | None":
    """The view in a folder; None if there is none, and samples are decoded."""
    return View(path) if path is not None and path.is_dir() else None


class View(Sequence[Sample]):
    """The inputs of a split, by index; pickles as its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._samples = shards.split(path, SAMPLES)
        self._images = np.load(path / IMAGES, mmap_mode="r")
        self._shapes = np.load(path / SHAPES)
        self._ends = _ends(self._shapes)

    def __reduce__(self) -> tuple[type["View"], tuple[Path]]:
        return View, (self.path,)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, index: Any) -> Any:
        return self._samples.sample(index, _image(self._images, self._shapes, self._ends, index))


def bring(path: Path, stored: shards.Shards, begins: Start, limit: int) -> str:
    """Make the view of a split if there is none, and say what was done; `path` does not exist where it can't be.

    Args:
        path: the view's folder, named by its digest, among all views.
        stored: the split's samples.
        begins: what becomes of them.
        limit: bytes that all views may take together.
    """
    shapes = _shapes(stored, begins)
    needed = int(_ends(shapes)[-1])
    size = f"{len(stored):,} {begins}, {needed / 1e6:,.0f} MB"
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
            write(made, stored, begins)
        return f"view of {size}, made in {time.monotonic() - started:.1f} s"


def free_up(folder: Path, limit: int) -> None:
    """Remove the least recently used views until the others fit; those that may be in use stay."""
    recent = {path.name for path in folder.glob("*/") if time.time() - path.stat().st_mtime < IN_USE_S}
    store.bound(folder, limit, recent)


def write(path: Path, stored: shards.Shards, begins: Start) -> None:
    """Fill the folder of a view, on all cores: decoding and scaling leave Python to other threads."""
    shapes = _shapes(stored, begins)
    ends = _ends(shapes)
    images = np.lib.format.open_memmap(path / IMAGES, "w+", np.uint8, (int(ends[-1]),))
    np.save(path / SHAPES, shapes)

    def put(index: int) -> Sample:
        inner = begins.begin(stored[index])
        _image(images, shapes, ends, index)[:] = inner.pixels
        return dataclasses.replace(inner, image=NO_IMAGE)

    with ThreadPoolExecutor(processes.cores()) as threads:
        shards.write_shard(path / f"{SAMPLES}-00000.arrow", _in_chunks(threads, put, len(stored)))
    images.flush()


def _shapes(stored: shards.Shards, begins: Start) -> NDArray[np.int32]:
    """N×2: the height and width of each image of a view."""
    sizes = zip(stored.column("height"), stored.column("width"), strict=True)
    return np.array([begins.shape(height, width) for height, width in sizes], np.int32).reshape(-1, 2)


def _ends(shapes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where each image begins, and the last one ends."""
    return np.concatenate([[0], np.cumsum(shapes.prod(axis=1, dtype=np.int64) * 3)])


def _image(
    images: NDArray[np.uint8], shapes: NDArray[np.int32], ends: NDArray[np.int64], index: int
) -> NDArray[np.uint8]:
    """An image of all, without a copy."""
    return np.asarray(images[ends[index] : ends[index + 1]]).reshape(*shapes[index], 3)


def _in_chunks(threads: ThreadPoolExecutor, write: Callable[[int], Sample], count: int) -> Iterator[Sample]:
    for start in range(0, count, CHUNK):
        yield from threads.map(write, range(start, min(start + CHUNK, count)))
