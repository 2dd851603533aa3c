"""Features of images by a network that does not change: computed once, kept, and shared by the jobs that ask for them.

A frozen learner has nothing to train by gradient: each image becomes a vector, and a linear head is fitted to these.
The vectors of a split lie in `.work/frozen_features/<digest>/`, in chunks that are each made whole or not at all and
verified when they are read: a run that was killed goes on with the next chunk, and a damaged one is made again. The
digest is that of all that decides them: images, network, weights and code, but not the head.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import store
from pipeline.learners.linear_heads import Vectors
from pipeline.train.job_state import JobSpec, State

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.learners.frozen import Frozen
    from pipeline.train.loader import Index, Key, Loader, Samples

#: all features of a project
FOLDER = ".work/frozen_features"
#: images of a chunk
CHUNK = 256
FEATURES, LABELS = "features.npy", "labels.npy"
#: batches of a plan: images B×C×S×S, and their classes
Batches = Callable[[Iterable[list["Key"]]], Iterator[tuple["Tensor", "Tensor"]]]


def fit_head(
    job_spec: JobSpec,
    learner: "Frozen",
    splits: Mapping[str, tuple["Samples", "Loader"]],
    parts: int,
    state: State,
) -> None:
    """Fit the head of a learner to the features of both splits.

    parts: in which a batch of the job goes through the network; state: notes what has been done.
    """
    from pipeline.train import prefetch

    device, started = str(learner.mean.device), time.monotonic()
    size = -(-job_spec.job.batch // parts)
    vectors = {}
    for split, (samples, loader) in splits.items():

        def batches(plan: Iterable[list["Key"]], loader: "Loader" = loader) -> Iterator[Any]:
            return prefetch.on_device(loader.batches(plan), device)

        path = folder(job_spec, learner, split, samples.index)
        vectors[split] = bring(path, len(samples), size, learner, batches, state.note)
    doing = learner.fit_head(vectors["train"], vectors["val"])
    state.note(doing=doing, seconds=state.read()["seconds"] + time.monotonic() - started)


def folder(job_spec: JobSpec, learner: "Frozen", split: str, index: "Index | None") -> Path:
    """Where the features of a split's images lie; `index`: which of them, and in which order, by default all."""
    job, decided = job_spec.job, job_spec.decided
    settings = learner.settings
    decides = {
        "split": split,
        "images": [store.content_digest(job_spec.prepared), None if index is None else index.tolist(), job.sampling],
        "input": [job.size, job.fit, job.channels, settings.mean, settings.std],
        "network": [job.architecture, job.options, decided.get("sources", {}).get("pretrained"), job.seed],
        "code": [decided.get("code"), decided.get("libraries")],
    }
    return job_spec.work.parents[2] / FOLDER / store.digest(decides)


def bring(path: Path, count: int, size: int, learner: "Frozen", batches: Batches, note: Callable[..., None]) -> Vectors:
    """The features of `count` images, computed where they are not there.

    Args:
        path: where they lie.
        count: of the split's images.
        size: of a batch.
        learner: computes them.
        batches: loads the batches of a plan.
        note: is called with what has been done, as a job's state is.
    """
    chunks = []
    started, computed = time.monotonic(), 0
    for start in range(0, count, CHUNK):
        positions = range(start, min(start + CHUNK, count))
        chunk = path / f"{start:09d}"
        if not store.holds(chunk, path.name):
            with store.folder(chunk, path.name) as made:
                plan = [[(0, at) for at in positions[first : first + size]] for first in range(0, len(positions), size)]
                _compute(made, learner, batches(plan))
            computed += len(positions)
            rate = computed / (time.monotonic() - started)
            note(doing=f"features {positions.stop:,}/{count:,}", images_per_s=rate)
        chunks.append(Vectors(np.load(chunk / FEATURES), np.load(chunk / LABELS)))
    if path.is_dir():
        os.utime(path)
    return Vectors(
        np.concatenate([chunk.features for chunk in chunks]), np.concatenate([chunk.labels for chunk in chunks])
    )


def _compute(made: Path, learner: "Frozen", batches: Iterator[tuple["Tensor", "Tensor"]]) -> None:
    import torch

    with torch.inference_mode():
        learner.eval()
        parts = [(learner.features(images).cpu(), labels.cpu()) for images, labels in batches]
    np.save(made / FEATURES, torch.cat([features for features, _ in parts]).numpy())
    np.save(made / LABELS, torch.cat([labels for _, labels in parts]).numpy())
