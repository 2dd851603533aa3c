"""Batches of a job: the order of its samples, their split over ranks, and their augmentation.

A sample's augmentation depends on (seed, epoch, index) alone: the sampler passes (epoch, index) to the dataset, so the
numbers of loader workers and ranks change nothing. An epoch is cut into batches of nearly equal size, and each batch
is split over the ranks, so that every sample is used exactly once per epoch.
"""

import functools
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from pipeline import plugins, processes, sample, shards
from pipeline.augment.fit import Fit
from pipeline.augment.joined import joined
from pipeline.augment.policy import Policy, Settings
from pipeline.learners import base
from pipeline.params import Job
from pipeline.sample import Sample
from pipeline.seeds import seed_of

#: per process that trains
MOST_WORKERS = 8
Key = tuple[int, int]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Plan(Sampler[list[Key]]):
    """One rank's batches of one epoch, as (epoch, index) keys."""

    length: int
    batch: int
    seed: int
    epoch: int = 0
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return -(-self.length // self.batch)

    def __iter__(self) -> Iterator[list[Key]]:
        for whole in self._batches():
            mine = whole[self.rank :: self.world]
            if not len(mine):  # fewer samples than ranks: use one with weight 0
                mine = whole[:1]
            yield [(self.epoch, int(index)) for index in mine]

    def _batches(self) -> list[Index]:
        order = np.random.default_rng(seed_of("order", self.seed, self.epoch)).permutation(self.length)
        return list(np.array_split(order, len(self)))

    def weights(self) -> list[float]:
        """Weights of this rank's mean loss per batch, so that the mean over ranks is that over the whole batch."""
        return [len(whole[self.rank :: self.world]) * self.world / len(whole) for whole in self._batches()]


class Samples(Dataset[Sample]):
    """Stored samples, fitted to the job's size and, for training, augmented by its policy.

    If `view` is set, they come from it: the same samples, fitted before.

    fit: how they become the network's input · index: indices into `stored`, where only some samples are used or some
    repeatedly · labels: the class of each of them, for balanced sampling: each epoch then resamples the images, and
    each repetition is augmented differently.
    """

    def __init__(
        self,
        stored: Sequence[Sample],
        fit: Fit,
        *,
        index: Index | None = None,
        labels: Index | None = None,
        policy: Settings = (),
        seed: int = 0,
        classes: int = 0,
        keypoints: Sequence[str] = (),
    ) -> None:
        self.stored, self.fit, self.index, self.settings, self.seed = stored, fit, index, policy, seed
        self.classes, self.keypoints, self.labels = classes, keypoints, labels
        self.view: Sequence[Sample] | None = None
        self._policy: Policy | None = None
        self._epoch_index: tuple[int, Index] | None = None

    def __len__(self) -> int:
        return len(self.stored) if self.index is None else len(self.index)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        if self._policy is None:
            self._policy = Policy(self.settings, self.classes, self.keypoints)
        other = functools.partial(self._other, epoch)
        return self._policy(self._stored(epoch, index), seed_of("augment", self.seed, epoch, index), other, self.fit)

    def _stored(self, epoch: int, index: int) -> Sample:
        position = index if self.labels is None else int(self._resampled(epoch)[index])
        source = self.stored if self.view is None else self.view
        stored: Sample = source[position if self.index is None else int(self.index[position])]
        return stored

    def _resampled(self, epoch: int) -> Index:
        if self._epoch_index is None or self._epoch_index[0] != epoch:
            assert self.labels is not None
            self._epoch_index = epoch, balanced(self.labels, seed_of("balanced", self.seed, epoch))
        return self._epoch_index[1]

    def _other(self, epoch: int, number: int) -> Sample:
        """The sample to mix in; `number` is random, from the seed of the sample that it is mixed into."""
        return self._stored(epoch, number % len(self))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_policy": None, "_epoch_index": None}


def balanced(labels: Index, seed: int) -> Index:
    """As many random indices as labels: equally many (±1) of each class, and of each sample of a class."""
    generator = np.random.default_rng(seed)
    classes = generator.permutation(np.unique(labels))
    counts = np.full(len(classes), len(labels) // len(classes))
    counts[: len(labels) % len(classes)] += 1
    members = [generator.permutation(np.flatnonzero(labels == value)) for value in classes]
    return np.concatenate([np.resize(indices, count) for indices, count in zip(members, counts, strict=True)])


def subset(labels: Index, number: int, seed: int) -> Index:
    """A stratified random subset of `number` indices: at least one per class if they suffice; subsets are nested."""
    generator = np.random.default_rng(seed)
    rank, order = np.empty(len(labels)), generator.permutation(len(labels))
    for value in np.unique(labels):
        members = order[labels[order] == value]
        rank[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(rank[order], kind="stable")][:number])


def train_samples(
    job: Job, policy: Settings, prepared: Path, augmented: Path | None, derived: dict[str, Path] | None = None
) -> Samples:
    """The train split with its staged copies, in the staged order, or a subset (`train_images`, `fraction`).

    derived: folders of the fields that are joined to the samples, by name; copies have none. Copies of images outside
    the subset are left out, too.
    """
    facts = sample.facts(prepared)
    settings: dict[str, Any] = {
        "policy": policy,
        "seed": job.seed,
        "classes": len(facts.classes),
        "keypoints": facts.keypoints,
    }
    stored, index = shards.split(prepared, "train"), None
    images = len(stored)
    number = _image_count(job, images)
    subset_index = None if number == images else subset(_labels(stored), number, seed_of("subset", job.seed))
    if augmented is not None:
        stored = shards.Shards(stored.paths + shards.split(augmented, "copies").paths)
        index = np.load(augmented / "index.npy")
    if subset_index is not None:
        all_indices = np.arange(images) if index is None else index
        index = all_indices[np.isin(all_indices % images, subset_index)]  # copies follow the images, round by round
    if job.sampling == "balanced":
        labels = _labels(stored)
        settings["labels"] = labels if index is None else labels[index]
    fit = Fit(job.size, job.fit)
    return Samples(joined(stored, "train", derived or {}), fit, index=index, **settings)


def _image_count(job: Job, images: int) -> int:
    """The number of train images that a job uses."""
    if job.fraction is not None:
        return max(1, round(job.fraction * images))
    return min(job.train_images or images, images)


def _labels(stored: shards.Shards) -> Index:
    """Each sample's class: of a soft label the most probable class; 0 where there is no label."""
    pairs = zip(stored.column("label"), stored.column("soft"), strict=True)
    return np.array([int(np.argmax(soft)) if soft else label or 0 for label, soft in pairs], np.int64)


def _start_worker(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def worker_count(asked: int | str, device: str) -> int:
    """The number of processes that load images; `auto`: none on a CPU, which trains on all cores, else by cores."""
    if asked != "auto":
        return int(asked)
    gpus = torch.cuda.device_count() if device.startswith("cuda") else 0
    return max(1, min(MOST_WORKERS, processes.cores() // gpus - 1)) if gpus else 0


@dataclass
class _Keys(Sampler[list[Key]]):
    """The batches of the plan that is set."""

    plan: Iterable[list[Key]] = ()

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.plan)


class Loader:
    """Loads batches of samples; its worker processes, if it has some, stay from one epoch to the next."""

    def __init__(self, samples: Samples, job: Job, settings: base.Settings, device: str = "cpu") -> None:
        workers = worker_count(job.loader_workers, device)
        task = plugins.load("tasks", job.task)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, task.__name__])  # torch is imported once, not by each worker
        self._keys = _Keys()
        self._loaded: DataLoader[Any] = DataLoader(
            samples,
            batch_sampler=self._keys,
            collate_fn=functools.partial(task.collate, settings=settings),
            num_workers=workers,
            timeout=120 if workers else 0,
            worker_init_fn=_start_worker,
            multiprocessing_context=context if workers else None,
            persistent_workers=workers > 0,
            pin_memory=device.startswith("cuda"),
        )

    def batches(self, plan: Iterable[list[Key]]) -> Iterator[Any]:
        """The batches of a plan, in its order."""
        self._keys.plan = plan
        return iter(self._loaded)


def to_device(batch: Any, device: str) -> Any:
    """Move the tensors of a nested batch to a device; other values stay."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(item, device) for item in batch)
    if isinstance(batch, dict):
        return {name: to_device(item, device) for name, item in batch.items()}
    return batch
