"""Batches of a job: which samples a rank sees when, each changed by its own seed.

The sample stream is a function of (seed, epoch, index): the sampler hands (epoch, index) to the dataset, so
neither loader workers nor ranks change what is drawn. An epoch is cut into batches of nearly equal size and a
batch is dealt to the ranks, so every sample comes exactly once for any number of either.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from pipeline import plugins, sample
from pipeline.augment.joined import joined
from pipeline.augment.policy import Policy, Settings
from pipeline.learners import base
from pipeline.params import Job
from pipeline.sample import Sample
from pipeline.seeds import seed_of

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
            if not len(mine):  # fewer samples than ranks: take one along, at weight 0
                mine = whole[:1]
            yield [(self.epoch, int(index)) for index in mine]

    def _batches(self) -> list[Index]:
        order = np.random.default_rng(seed_of("order", self.seed, self.epoch)).permutation(self.length)
        return list(np.array_split(order, len(self)))

    def weights(self) -> list[float]:
        """What each batch's mean loss counts, so that the lane's mean is the mean over the whole batch."""
        return [len(whole[self.rank :: self.world]) * self.world / len(whole) for whole in self._batches()]


class Samples(Dataset[Sample]):
    """Stored samples, scaled to the job's size and, for training, changed by its policy.

    index: which of them there are, by place · labels: the class at each place, where classes are to come equally
    often: each epoch then draws anew which images stand at the places, and one that comes twice is changed twice.
    """

    def __init__(
        self,
        stored: Sequence[Sample],
        size: int,
        *,
        index: Index | None = None,
        labels: Index | None = None,
        policy: Settings = (),
        seed: int = 0,
        classes: int = 0,
        points: Sequence[str] = (),
    ) -> None:
        self.stored, self.size, self.index, self.settings, self.seed = stored, size, index, policy, seed
        self.classes, self.points, self.labels = classes, points, labels
        self._policy: Policy | None = None
        self._drawn: tuple[int, Index] | None = None

    def __len__(self) -> int:
        return len(self.stored) if self.index is None else len(self.index)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        if self._policy is None:
            self._policy = Policy(self.settings, self.classes, self.points)
        other = functools.partial(self._other, epoch)
        return self._policy(self._scaled(epoch, index), seed_of("augment", self.seed, epoch, index), other)

    def _scaled(self, epoch: int, index: int) -> Sample:
        place = index if self.labels is None else int(self._draws(epoch)[index])
        stored = self.stored[place if self.index is None else int(self.index[place])]
        return sample.resized(stored, self.size, self.size)

    def _draws(self, epoch: int) -> Index:
        if self._drawn is None or self._drawn[0] != epoch:
            assert self.labels is not None
            self._drawn = epoch, balanced(self.labels, seed_of("balanced", self.seed, epoch))
        return self._drawn[1]

    def _other(self, epoch: int, number: int) -> Sample:
        """What is mixed in: `number` is drawn from the seed of the sample that it is mixed into."""
        return self._scaled(epoch, number % len(self))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_policy": None, "_drawn": None}


def balanced(labels: Index, seed: int) -> Index:
    """As many places as there are labels, of each class equally many up to one, and each of a class's equally often.

    Which classes and places come once more is drawn.
    """
    draw = np.random.default_rng(seed)
    classes = draw.permutation(np.unique(labels))
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[: len(labels) % len(classes)] += 1
    members = [draw.permutation(np.flatnonzero(labels == value)) for value in classes]
    return np.concatenate([np.resize(places, share) for places, share in zip(members, shares, strict=True)])


def subset(labels: Index, number: int, seed: int) -> Index:
    """`number` places, of each class its share and first of all one; those of a smaller number are among them."""
    draw = np.random.default_rng(seed)
    rank, order = np.empty(len(labels)), draw.permutation(len(labels))
    for value in np.unique(labels):
        members = order[labels[order] == value]
        rank[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(rank[order], kind="stable")][:number])


def train_samples(
    job: Job, policy: Settings, prepared: Path, augmented: Path | None, derived: dict[str, Path] | None = None
) -> Samples:
    """The train split, followed by staged copies and in the staged order where there are any; of it what is asked for.

    derived: folders of the fields that are joined to the samples, by name; copies have none · Where fewer images are
    asked for, copies of the others go too.
    """
    known = sample.facts(prepared)
    settings: dict[str, Any] = {
        "policy": policy,
        "seed": job.seed,
        "classes": len(known.classes),
        "points": known.points,
    }
    stored, index = sample.split(prepared, "train"), None
    images = len(stored)
    number = _asked(job, images)
    kept = None if number == images else subset(_labels(stored), number, seed_of("subset", job.seed))
    if augmented is not None:
        stored = sample.Shards(stored.paths + sample.split(augmented, "copies").paths)
        index = np.load(augmented / "index.npy")
    if kept is not None:
        every = np.arange(images) if index is None else index
        index = every[np.isin(every % images, kept)]  # copies stand behind the images, in rounds
    if job.sampling == "balanced":
        labels = _labels(stored)
        settings["labels"] = labels if index is None else labels[index]
    return Samples(joined(stored, "train", derived or {}), job.size, index=index, **settings)


def _asked(job: Job, images: int) -> int:
    """How many train images a job learns from."""
    if job.fraction is not None:
        return max(1, round(job.fraction * images))
    return min(job.train_images or images, images)


def _labels(stored: sample.Shards) -> Index:
    """Each sample's class: of a mixed one the larger part's, and one for all where there are none."""
    pairs = zip(stored.column("label"), stored.column("soft"), strict=True)
    return np.array([int(np.argmax(soft)) if soft else label or 0 for label, soft in pairs], np.int64)


def _start_worker(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def load(samples: Samples, plan: Iterable[list[Key]], job: Job, settings: base.Settings) -> DataLoader[Any]:
    """A loader of one epoch's batches."""
    collate = functools.partial(plugins.load("tasks", job.task).collate, settings=settings)
    workers = job.loader_workers
    return DataLoader(
        samples,
        batch_sampler=plan,
        collate_fn=collate,
        num_workers=workers,
        timeout=120 if workers else 0,
        worker_init_fn=_start_worker,
        multiprocessing_context="forkserver" if workers else None,
    )


def to_device(batch: Any, device: str) -> Any:
    """Tensors of a nested batch, moved; all else as it is."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(item, device) for item in batch)
    if isinstance(batch, dict):
        return {name: to_device(item, device) for name, item in batch.items()}
    return batch
