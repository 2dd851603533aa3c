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
from torch.utils.data import DataLoader, Dataset, Sampler

from pipeline import plugins, sample
from pipeline.augment.policy import Policy, Settings
from pipeline.params import Job
from pipeline.sample import Sample
from pipeline.seeds import seed_of
from pipeline.tasks import _learner

Key = tuple[int, int]


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

    def _batches(self) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
        order = np.random.default_rng(seed_of("order", self.seed, self.epoch)).permutation(self.length)
        return list(np.array_split(order, len(self)))

    def weights(self) -> list[float]:
        """What each batch's mean loss counts, so that the lane's mean is the mean over the whole batch."""
        return [len(whole[self.rank :: self.world]) * self.world / len(whole) for whole in self._batches()]


class Samples(Dataset[Sample]):
    """Stored samples, scaled to the job's size and, for training, changed by its policy."""

    def __init__(
        self,
        stored: Sequence[Sample],
        size: int,
        *,
        index: np.ndarray[Any, np.dtype[np.int64]] | None = None,
        policy: Settings = (),
        seed: int = 0,
        classes: int = 0,
    ) -> None:
        self.stored, self.size, self.index, self.settings, self.seed = stored, size, index, policy, seed
        self.classes = classes
        self._policy: Policy | None = None

    def __len__(self) -> int:
        return len(self.stored) if self.index is None else len(self.index)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        if self._policy is None:
            self._policy = Policy(self.settings, self.classes)
        return self._policy(self._scaled(index), seed_of("augment", self.seed, epoch, index), self._other)

    def _scaled(self, index: int) -> Sample:
        stored = self.stored[index if self.index is None else int(self.index[index])]
        return sample.resized(stored, self.size, self.size)

    def _other(self, number: int) -> Sample:
        """What is mixed in: `number` is drawn from the seed of the sample that it is mixed into."""
        return self._scaled(number % len(self))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_policy": None}


def train_samples(job: Job, policy: Settings, prepared: Path, augmented: Path | None) -> Samples:
    """The train split, followed by staged copies and in the staged order where there are any."""
    settings: dict[str, Any] = {"policy": policy, "seed": job.seed, "classes": len(sample.facts(prepared).classes)}
    if augmented is None:
        return Samples(sample.split(prepared, "train"), job.size, **settings)
    stored = sample.Shards(sample.split(prepared, "train").paths + sample.split(augmented, "copies").paths)
    index = np.load(augmented / "index.npy")
    return Samples(stored, job.size, index=index, **settings)


def _start_worker(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def load(samples: Samples, plan: Iterable[list[Key]], job: Job, settings: _learner.Settings) -> DataLoader[Any]:
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
