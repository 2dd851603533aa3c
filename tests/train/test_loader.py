"""The samples of an epoch are a function of the seed and the epoch alone, whoever loads them."""

import dataclasses
import pickle
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline import shards, store
from pipeline.augment.fit import Fit
from pipeline.learners.base import Settings
from pipeline.params import Job
from pipeline.sample import Facts, Sample
from pipeline.train import loader
from pipeline.train.loader import Plan, Samples

SIDE, NUMBER = 12, 11
POLICY: list[dict[str, dict[str, Any]]] = [{"shift": {"limit": 0.3}}, {"noise": {"p": 1.0}}]
MIXED: list[dict[str, dict[str, Any]]] = [{"shift": {"limit": 0.3}}, {"mixup": {"alpha": 1.0}}, {"cutmix": {"p": 0.5}}]
#: the label is the sample's number, so that a batch says which samples it holds
SETTINGS = Settings(tuple(map(str, range(NUMBER))), (), (1,) * NUMBER, 3, SIDE, (0.5,) * 3, (0.25,) * 3)
Epoch = Counter[tuple[int, str]]


def job(**settings: Any) -> Job:
    return Job(task="classification", architecture="linear", dataset="d", size=SIDE, **settings)


def stored(number: int = NUMBER) -> list[Sample]:
    pixels = np.random.default_rng(0).integers(0, 256, (number, SIDE, SIDE, 3), dtype=np.uint8)
    return [Sample(f"i{place}", pixels[place], label=place) for place in range(number)]


def contents(batches: Iterable[Any]) -> Epoch:
    """The multiset of (label, pixels)."""
    found: Epoch = Counter()
    for images, labels in batches:
        found.update((int(label), image.numpy().tobytes().hex()) for image, label in zip(images, labels, strict=True))
    return found


def epoch(plan: Plan, *, workers: int = 0, samples: Samples | None = None) -> Epoch:
    samples = samples or Samples(stored(), Fit(SIDE), policy=POLICY, seed=5)
    return contents(loader.Loader(samples, job(loader_workers=workers), SETTINGS).batches(plan))


@pytest.fixture(scope="module")
def alone() -> Epoch:
    """An epoch as one process loads it."""
    return epoch(Plan(NUMBER, 4, 5, 1))


def test_one_process_sees_every_sample_once_each_changed_in_its_own_way(alone: Epoch) -> None:
    assert sorted(label for label, _ in alone) == list(range(NUMBER))
    assert alone == epoch(Plan(NUMBER, 4, 5, 1))
    untouched = {item.pixels.transpose(2, 0, 1).tobytes().hex() for item in stored()}
    assert not untouched & {pixels for _, pixels in alone}


def test_the_same_picture_is_changed_anew_at_every_position() -> None:
    samples = Samples(stored(1), Fit(SIDE), index=np.zeros(9, np.int64), policy=POLICY, seed=5)
    assert len(epoch(Plan(9, 4, 5), samples=samples)) == 9


def test_epochs_and_seeds_differ(alone: Epoch) -> None:
    assert not alone & epoch(Plan(NUMBER, 4, 5, 2))
    assert not alone & epoch(Plan(NUMBER, 4, 5, 1), samples=Samples(stored(), Fit(SIDE), policy=POLICY, seed=6))
    orders = {tuple(key[1] for batch in Plan(NUMBER, 4, seed, at) for key in batch) for seed in (5, 6) for at in (0, 1)}
    assert len(orders) == 4


@pytest.mark.parametrize("batch", [1, 3, 4, 20])
def test_the_size_of_a_batch_changes_no_sample(batch: int, alone: Epoch) -> None:
    assert epoch(Plan(NUMBER, batch, 5, 1)) == alone


@pytest.mark.parametrize("workers", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_loader_workers_change_nothing(workers: int, alone: Epoch) -> None:
    assert epoch(Plan(NUMBER, 4, 5, 1), workers=workers) == alone


def mixed(workers: int = 0, rank: int = 0, world: int = 1) -> Counter[str]:
    """The multiset of soft labels and pixels; a label says which two samples were mixed, and in which shares."""
    samples = Samples(stored(), Fit(SIDE), policy=MIXED, seed=5, classes=NUMBER)
    plan, found = Plan(NUMBER, 4, 5, 1, rank, world), Counter[str]()
    batches = loader.Loader(samples, job(loader_workers=workers), SETTINGS).batches(plan)
    for (images, labels), weight in zip(batches, plan.weights(), strict=True):
        assert labels.sum(dim=1).tolist() == pytest.approx([1] * len(labels))
        pairs = zip(images.numpy(), labels.numpy(), strict=True) if weight else ()
        found.update((label.tobytes() + image.tobytes()).hex() for image, label in pairs)
    return found


def test_what_is_mixed_in_is_the_same_for_any_workers_and_ranks() -> None:
    alone = mixed()
    assert len(alone) == NUMBER
    for workers in (1, 2):
        assert mixed(workers) == alone
    assert mixed(0, 0, 2) + mixed(0, 1, 2) == alone


def keys(number: int, batch: int, world: int, at: int = 0) -> list[list[list[tuple[int, int]]]]:
    """Every rank's batches."""
    return [list(Plan(number, batch, 5, at, rank, world)) for rank in range(world)]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_change_nothing(world: int, alone: Epoch) -> None:
    """Samples that are loaded at weight 0 don't count."""
    found: Epoch = Counter()
    for rank in range(world):
        plan = Plan(NUMBER, 4, 5, 1, rank, world)
        batches = loader.Loader(Samples(stored(), Fit(SIDE), policy=POLICY, seed=5), job(), SETTINGS).batches(plan)
        found += contents(batch for batch, weight in zip(batches, plan.weights(), strict=True) if weight)
    assert found == alone


@pytest.mark.parametrize(
    ("number", "batch", "world"), [(11, 4, 1), (11, 4, 2), (11, 4, 3), (13, 2, 3), (5, 1, 2), (1, 8, 2)]
)
def test_ranks_share_an_epoch_without_overlap_in_equal_steps(number: int, batch: int, world: int) -> None:
    dealt = keys(number, batch, world, at=3)
    weights = [Plan(number, batch, 5, 3, rank, world).weights() for rank in range(world)]
    assert {len(batches) for batches in dealt} == {len(row) for row in weights} == {-(-number // batch)}
    assert len(Plan(number, batch, 5)) == -(-number // batch)
    seen: list[int] = []
    for batches, row in zip(dealt, weights, strict=True):
        for mine, weight in zip(batches, row, strict=True):
            assert mine  # every rank takes every step
            assert {at for at, _ in mine} == {3}
            seen += [index for _, index in mine] if weight else []
    assert sorted(seen) == list(range(number))


@pytest.mark.parametrize(("number", "batch"), [(11, 4), (10, 3), (5, 2), (9, 8), (17, 16), (3, 20)])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_the_mean_over_the_worker_group_is_the_mean_over_the_batch(number: int, batch: int, world: int) -> None:
    """Each rank's mean times its weight, averaged over the ranks as DDP does it; also where a rank has no sample."""
    values = np.random.default_rng(1).random(number)
    plans = [Plan(number, batch, 5, 0, rank, world) for rank in range(world)]
    parts = np.array(
        [
            [
                np.mean([values[index] for _, index in mine]) * weight
                for mine, weight in zip(plan, plan.weights(), strict=True)
            ]
            for plan in plans
        ]
    )
    whole = [np.mean([values[index] for _, index in mine]) for mine in Plan(number, batch, 5)]
    np.testing.assert_allclose(parts.mean(axis=0), whole)


@pytest.mark.parametrize("number", range(1, 60))
def test_batches_are_nearly_equal_and_never_larger_than_asked(number: int) -> None:
    for batch in range(1, 20):
        sizes = [len(mine) for mine in Plan(number, batch, 5)]
        assert max(sizes) <= batch
        assert max(sizes) - min(sizes) <= 1
        if batch >= 3 and number >= 2:  # a batch of one has no variance to normalise by; of 2 and 5 samples one is left
            assert min(sizes) >= 2


class Careless(Dataset[Any]):
    """What albumentations does in loader workers when nobody seeds it by sample."""

    def __init__(self) -> None:
        self.change = albumentations.Compose([albumentations.GaussNoise(std_range=(0.1, 0.2), p=1.0)], seed=0)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> Any:
        return torch.from_numpy(self.change(image=np.full((8, 8, 3), 128, np.uint8))["image"])


def test_without_a_seed_a_sample_workers_repeat_themselves() -> None:
    """The fault that the seeds are for still exists; if this fails, albumentations has mended it."""

    def distinct(workers: int) -> int:
        context = "forkserver" if workers else None
        loaded = DataLoader(Careless(), batch_size=1, num_workers=workers, multiprocessing_context=context)
        return len({image.numpy().tobytes() for image in loaded})

    assert distinct(0) == 4
    assert distinct(2) == 2


def test_samples_travel_to_workers_without_what_was_built() -> None:
    samples = Samples(stored(), Fit(SIDE), policy=POLICY, seed=5)
    before = samples[(0, 3)].pixels
    assert samples._policy is not None
    arrived = pickle.loads(pickle.dumps(samples))
    assert arrived._policy is None
    np.testing.assert_array_equal(arrived[(0, 3)].pixels, before)


def test_samples_have_the_jobs_size_before_they_are_changed() -> None:
    wide = [Sample("w", np.zeros((30, 50, 3), np.uint8), boxes=np.array([[0, 0, 50, 30]], np.float32))]
    (images,) = [Samples(wide, Fit(SIDE))[(0, 0)]]
    assert images.pixels.shape == (SIDE, SIDE, 3)
    assert images.boxes is not None
    assert images.boxes.tolist() == [[0, 0, SIDE, SIDE]]


def test_staged_copies_come_after_the_originals_in_the_staged_order(tmp_path: Path) -> None:
    prepared, augmented = tmp_path / "prepared", tmp_path / "augmented"
    facts = Facts("digits", ("0", "1", "2"), (), {"train": 3}, (1, 1, 1), ("label",), {}, {})
    with store.folder(prepared, "f") as path:
        shards.write_shard(path / "train-00000.arrow", stored(3))
        store.write_json(path / "dataset.json", dataclasses.asdict(facts))
    with store.folder(augmented, "f") as path:
        copies = [Sample(f"c{place}", np.full((SIDE, SIDE, 3), place, np.uint8), label=place) for place in range(3)]
        shards.write_shard(path / "copies-00000.arrow", copies)
        np.save(path / "index.npy", np.array([5, 0, 0, 3]))
    samples = loader.train_samples(job(), [], prepared, augmented)
    assert [samples[(0, place)].id for place in range(len(samples))] == ["c2", "i0", "i0", "c0"]
    plain = loader.train_samples(job(), [], prepared, None)
    assert [plain[(0, place)].id for place in range(len(plain))] == ["i0", "i1", "i2"]
    assert (samples.classes, plain.classes) == (3, 3)


def test_to_device_moves_tensors_wherever_they_are() -> None:
    batch = (torch.zeros(2), [{"boxes": torch.ones(1), "id": "x"}], None)
    moved = loader.to_device(batch, "meta")
    assert isinstance(moved, tuple)
    assert moved[0].is_meta
    assert moved[1][0]["boxes"].is_meta
    assert (moved[1][0]["id"], moved[2]) == ("x", None)


def lopsided() -> np.ndarray[Any, np.dtype[np.int64]]:
    """90 labels: 60 of class 0, 25 of 1, 5 of 2, in no order."""
    return np.random.default_rng(3).permutation(np.repeat([0, 1, 2], [60, 25, 5]))


def test_a_balanced_epoch_draws_every_class_equally_often() -> None:
    labels = lopsided()
    draws = [loader.balanced(labels, seed) for seed in (1, 1, 2)]
    for places in draws:
        assert np.bincount(labels[places]).tolist() == [30, 30, 30]
        times = np.bincount(places, minlength=90)
        assert [(times[labels == value].min(), times[labels == value].max()) for value in range(3)] == [
            (0, 1),  # half of the frequent class, none twice
            (1, 2),
            (6, 6),
        ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert set(draws[0]) != set(draws[2])


def test_a_remainder_goes_to_any_class() -> None:
    counts = {tuple(np.bincount(lopsided()[:89][loader.balanced(lopsided()[:89], seed)])) for seed in range(20)}
    assert counts == {(29, 30, 30), (30, 29, 30), (30, 30, 29)}


def balanced_epoch(workers: int = 0, rank: int = 0, world: int = 1, at: int = 1) -> Epoch:
    """Of 11 images of which 9 are of class 0, as one rank sees them."""
    items = [dataclasses.replace(item, label=int(place > 8)) for place, item in enumerate(stored())]
    labels = np.array([item.label for item in items])
    samples = Samples(items, Fit(SIDE), labels=labels, policy=POLICY, seed=5)
    plan = Plan(NUMBER, 4, 5, at, rank, world)
    loaded = loader.Loader(samples, job(loader_workers=workers), SETTINGS).batches(plan)
    return contents(batch for batch, weight in zip(loaded, plan.weights(), strict=True) if weight)


def test_balanced_samples_are_the_same_for_any_workers_and_ranks_and_change_each_time() -> None:
    alone = balanced_epoch()
    assert sorted(Counter(label for label, _ in alone.elements()).values()) == [5, 6]
    assert len(alone) == NUMBER  # two images stand for class 1, each three times and each time another
    assert balanced_epoch(workers=2) == alone
    assert balanced_epoch(rank=0, world=2) + balanced_epoch(rank=1, world=2) == alone
    assert not alone & balanced_epoch(at=2)


def test_a_subset_keeps_the_classes_shares_and_lies_in_every_larger_one() -> None:
    labels = lopsided()
    subsets = {number: loader.subset(labels, number, 7) for number in range(1, 91)}
    for number, places in subsets.items():
        assert len(set(places.tolist())) == number
        counts = np.bincount(labels[places], minlength=3)
        assert number < 3 or counts.min() >= 1
        assert abs(counts - number * np.array([60, 25, 5]) / 90).max() <= 2
        assert number == 1 or set(subsets[number - 1].tolist()) < set(places.tolist())
    np.testing.assert_array_equal(subsets[20], loader.subset(labels, 20, 7))
    assert subsets[20].tolist() != loader.subset(labels, 20, 8).tolist()


@pytest.mark.parametrize(
    ("settings", "kept"), [({"train_images": 2}, 2), ({"fraction": 0.5}, 3), ({"fraction": 0.01}, 1), ({}, 6)]
)
def test_copies_of_images_that_are_left_out_go_too(tmp_path: Path, settings: dict[str, Any], kept: int) -> None:
    prepared, augmented = tmp_path / "prepared", tmp_path / "augmented"
    facts = Facts("digits", ("0", "1"), (), {"train": 6}, (3, 3), ("label",), {}, {})
    with store.folder(prepared, "f") as path:
        items = [dataclasses.replace(item, label=place % 2) for place, item in enumerate(stored(6))]
        shards.write_shard(path / "train-00000.arrow", items)
        store.write_json(path / "dataset.json", dataclasses.asdict(facts))
    with store.folder(augmented, "f") as path:
        rounds = [dataclasses.replace(item, id=f"{item.id}.{turn}") for turn in (1, 2) for item in items]
        shards.write_shard(path / "copies-00000.arrow", rounds)
        np.save(path / "index.npy", np.arange(18))
    asked = job(sampling="balanced", **settings)
    plain = loader.train_samples(asked, [], prepared, None)
    staged = loader.train_samples(asked, [], prepared, augmented)
    assert (len(plain), len(staged)) == (kept, 3 * kept)
    assert plain.labels is not None
    assert staged.labels is not None
    assert (3 * np.bincount(plain.labels)).tolist() == np.bincount(staged.labels).tolist()
    named = {loader.train_samples(job(**settings), [], prepared, augmented)[(0, at)].id for at in range(3 * kept)}
    bases = {name.split(".")[0] for name in named}
    assert bases == {loader.train_samples(job(**settings), [], prepared, None)[(0, at)].id for at in range(kept)}
    assert len(named) == 3 * kept


def test_a_mixed_label_counts_as_its_larger_part(tmp_path: Path) -> None:
    labels: list[Any] = [1, np.array([0.1, 0.2, 0.7], np.float32), None]
    items = [dataclasses.replace(item, label=label) for item, label in zip(stored(3), labels, strict=True)]
    shards.write_shard(tmp_path / "train-00000.arrow", items)
    assert loader._labels(shards.split(tmp_path, "train")).tolist() == [1, 2, 0]
