"""A view gives the very samples that are decoded without one, is made whole or not at all, and keeps to its bound."""

import dataclasses
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import images as image_files
from pipeline import shards, store
from pipeline.augment.fit import Fit, Reduction
from pipeline.learners.base import Settings
from pipeline.params import Job, Params
from pipeline.sample import FIELDS, Sample
from pipeline.train import loader, loop, view
from pipeline.train.job_state import JobState
from pipeline.train.ranks import Ranks
from tests.helpers import few_digits, support
from tests.helpers.dying import die_at
from tests.helpers.marks import wide

SIDE, LIMIT = 24, 10**9
POLICY: list[dict[str, dict[str, Any]]] = [{"shift": {"limit": 0.3}}, {"noise": {"p": 1.0}}]
SETTINGS = Settings(("a", "b"), (), (1, 1), 3, SIDE, (0.5,) * 3, (0.25,) * 3)


def stored(folder: Path, number: int = 9) -> shards.Shards:
    """Samples with all annotations that are stored, each of another shape."""
    generator = np.random.default_rng(0)
    samples = []
    for index in range(number):
        item = wide(50 + 3 * index, 100 - 5 * index, square=(30 - index, 20, 50, 45))
        pixels = generator.integers(0, 256, item.pixels.shape, np.uint8)
        samples.append(dataclasses.replace(item, id=f"i{index}", image=pixels, label=index % 2, weight=None))
    bare = [dataclasses.replace(item, proposals=None) for item in samples]
    folder.mkdir(parents=True, exist_ok=True)
    shards.write_shard(folder / "train-00000.arrow", bare)
    return shards.split(folder, "train")


def made(tmp_path: Path, mode: str = "stretch", name: str = "mark") -> tuple[shards.Shards, Path]:
    samples = stored(tmp_path / "prepared")
    path = tmp_path / "views" / name
    assert "made in" in view.bring(path, samples, Fit(SIDE, mode), LIMIT)
    return samples, path


def opened(path: Path) -> view.View:
    result = view.opened(path)
    assert result is not None
    return result


def assert_equal(one: Sample, other: Sample) -> None:
    for name in FIELDS:
        np.testing.assert_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.pixels.dtype == other.pixels.dtype == np.uint8


@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
def test_a_view_is_what_is_decoded_and_fitted(mode: str, tmp_path: Path) -> None:
    images, path = made(tmp_path, mode)
    inputs, fit = opened(path), Fit(SIDE, mode)
    assert len(inputs) == len(images)
    for index in range(len(images)):
        expected, _ = fit.forward(images[index])
        assert_equal(inputs[index], expected)
        again, _ = fit.forward(inputs[index])  # as the loader does, which need not know where a sample is from
        assert_equal(again, expected)


def batches(samples: loader.Samples, workers: int) -> list[tuple[bytes, list[int]]]:
    job = Job(task="classification", architecture="linear", dataset="d", size=SIDE, loader_workers=workers)
    loaded = loader.Loader(samples, job, SETTINGS).batches(loader.Plan(len(samples), 4, 5, 1))
    return [(images.numpy().tobytes(), labels.tolist()) for images, labels in loaded]


def test_batches_are_the_same_with_a_view_and_any_number_of_workers(tmp_path: Path) -> None:
    images, path = made(tmp_path, "letterbox")
    samples = loader.Samples(images, Fit(SIDE, "letterbox"), policy=POLICY, seed=5)
    expected = batches(samples, 0)
    samples.view = opened(path)
    for workers in (0, 1, 2):
        assert batches(samples, workers) == expected


@pytest.mark.parametrize("least", [0.08, 0.44])
def test_with_random_crops_copies_of_any_shape_give_the_batches_of_the_images(least: float, tmp_path: Path) -> None:
    images, path = stored(tmp_path / "prepared"), tmp_path / "views/mark"
    policy: list[dict[str, dict[str, Any]]] = [{"random_resized_crop": {"scale": [least, 1.0]}}, *POLICY]
    job = Job(task="classification", architecture="linear", dataset="d", size=SIDE)
    begins = view.start(job, policy, "train")
    assert isinstance(begins, Reduction)
    assert view.start(job, policy, "val") == Fit(SIDE)
    assert "made in" in view.bring(path, images, begins, LIMIT)
    copies = opened(path)
    shapes = [(images[index].pixels.shape[:2], copies[index].pixels.shape[:2]) for index in range(len(images))]
    assert any(copy != own for own, copy in shapes) == (least > 0.1)
    assert all(copy == begins.shape(*own) for own, copy in shapes)
    samples = loader.Samples(images, Fit(SIDE), policy=policy, seed=5)
    expected = batches(samples, 0)
    samples.view = copies
    for workers in (0, 2):
        assert batches(samples, workers) == expected


def test_it_is_made_once_and_again_where_a_byte_is_flipped(tmp_path: Path) -> None:
    images, path = made(tmp_path)
    written = (path / view.IMAGES).stat().st_mtime_ns
    assert "made before" in view.bring(path, images, Fit(SIDE), LIMIT)
    assert (path / view.IMAGES).stat().st_mtime_ns == written
    data = bytearray((path / view.IMAGES).read_bytes())
    data[-1] ^= 1
    (path / view.IMAGES).write_bytes(data)
    assert "made in" in view.bring(path, images, Fit(SIDE), LIMIT)
    assert_equal(opened(path)[len(images) - 1], Fit(SIDE).forward(images[len(images) - 1])[0])


def test_nothing_half_made_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, path = stored(tmp_path / "prepared"), tmp_path / "views/mark"
    forward, calls = Fit.forward, 0

    def broken(self: Fit, item: Sample) -> Any:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise KeyboardInterrupt
        return forward(self, item)

    monkeypatch.setattr(Fit, "forward", broken)
    with pytest.raises(KeyboardInterrupt):
        view.bring(path, images, Fit(SIDE), LIMIT)
    assert view.opened(path) is None
    monkeypatch.setattr(Fit, "forward", forward)
    assert "made in" in view.bring(path, images, Fit(SIDE), LIMIT)


def test_what_does_not_fit_the_bound_is_not_made_and_said(tmp_path: Path) -> None:
    images, path = stored(tmp_path / "prepared"), tmp_path / "views/mark"
    told = view.bring(path, images, Fit(SIDE), 1000)
    assert "no view" in told
    assert "keep_gb" in told
    assert view.opened(path) is None


def test_the_least_recently_used_leave_and_none_that_may_be_in_use(tmp_path: Path) -> None:
    images, old = made(tmp_path, name="old")
    size = sum(file.stat().st_size for file in old.rglob("*"))
    new = old.with_name("new")
    assert "no view" in view.bring(new, images, Fit(SIDE), size + 1)
    os.utime(old, (0, 0))
    assert "made in" in view.bring(new, images, Fit(SIDE), size + len(images) * SIDE**2 * 3 - 1)
    assert not old.exists()
    assert new.exists()


def paths(root: Path, params: Params, name: str = "a") -> dict[str, Path]:
    return support.job_specs(root, params)[name].views


def test_jobs_share_a_view_where_their_inputs_are_the_same(tmp_path: Path) -> None:
    jobs: dict[str, dict[str, Any]] = {
        "a": {},
        "lr": {"lr": 0.01, "augmentation": "light"},
        "size": {"size": 12},
        "fit": {"fit": "letterbox"},
        "cut": {"augmentation": "cut"},
        "staged": {"augmentation": "staged"},
    }
    policies: dict[str, Any] = {
        "light": {"online": [{"shift": {}}]},
        "cut": {"online": [{"random_resized_crop": {}}]},
        "staged": {"staged": {"copies": 1, "transforms": [{"noise": {}}]}},
    }
    params = support.write_params(tmp_path, jobs, augmentation=policies)
    support.prepared(tmp_path, params)
    views = {name: paths(tmp_path, params, name) for name in jobs}
    assert views["a"].keys() == {"train", "val"}
    assert views["a"]["val"] == views["lr"]["val"] == views["staged"]["val"]
    assert views["a"]["train"] == views["lr"]["train"]
    assert len({str(views[name]["train"]) for name in ("a", "size", "fit", "staged")}) == 4
    assert views["cut"]["val"] == views["a"]["val"]
    assert views["cut"]["train"] != views["a"]["train"], "its crops are of larger copies"

    job_spec = support.job_specs(tmp_path, params)["staged"]
    job_spec.work.mkdir(parents=True)
    view.make(job_spec)
    told = JobState.of(job_spec).read()["view"]
    assert told.startswith("train: view of ")
    assert "val: view of " in told
    direct = loader.train_samples(job_spec.job, [], job_spec.prepared, job_spec.augmented)
    viewed = loader.train_samples(job_spec.job, [], job_spec.prepared, job_spec.augmented)
    viewed.view = opened(job_spec.views["train"])
    assert len(viewed.view) == len(viewed.stored)
    for index in (0, len(direct) - 1):
        assert_equal(viewed[(0, index)], direct[(0, index)])
    shutil.rmtree(job_spec.views["val"])
    assert view.opened(job_spec.views["val"]) is None
    assert store.holds(job_spec.views["train"], job_spec.views["train"].name)


def test_a_view_is_made_by_as_many_threads_as_cores_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = list[int | None]()

    class Counted(ThreadPoolExecutor):
        def __init__(self, number: int | None) -> None:
            numbers.append(number)
            super().__init__(number)

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(view, "ThreadPoolExecutor", Counted)
    made(tmp_path)
    assert numbers == [3]


PROGRAM = f"""
from pathlib import Path
from pipeline import shards
from pipeline.augment.fit import Fit
from pipeline.train import view
print(view.bring(Path("views/mark"), shards.split(Path("prepared"), "train"), Fit({SIDE}), {LIMIT}))
"""
KILLED = {
    "some are fitted": ("pipeline.augment.fit:Fit.forward", 5),
    "it is whole, without a manifest": ("pipeline.store:write_json", 1),
    "it gets its name": ("pipeline.store:replace", 1),
}


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=pytest.mark.slow if index else ()) for index, point in enumerate(KILLED)]
)
def test_a_killed_process_leaves_no_view_and_the_next_makes_it(point: str, tmp_path: Path) -> None:
    images = stored(tmp_path / "prepared")
    die_at(*KILLED[point], PROGRAM, tmp_path)
    path = tmp_path / "views/mark"
    assert view.opened(path) is None
    assert "made in" in view.bring(path, images, Fit(SIDE), LIMIT)
    assert sorted(each.name for each in path.parent.iterdir()) == ["lock", "mark"]
    other = tmp_path / "other/mark"
    view.bring(other, images, Fit(SIDE), LIMIT)
    assert store.manifest(path) == store.manifest(other)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_with_a_view_share_out_the_batches_of_one(world: int, tmp_path: Path) -> None:
    """Rank r of a batch has every world-th of its samples, beginning with the r-th; a rank without one has weight 0."""
    images, path = made(tmp_path, "letterbox")
    samples = loader.Samples(images, Fit(SIDE, "letterbox"), policy=POLICY, seed=5)

    def stream(rank: int, world: int) -> list[list[tuple[bytes, int]]]:
        job = Job(task="classification", architecture="linear", dataset="d", size=SIDE)
        plan = loader.Plan(len(samples), 4, 5, 1, rank, world)
        loaded = loader.Loader(samples, job, SETTINGS).batches(plan)
        pairs = ((pixels.numpy(), labels.tolist()) for pixels, labels in loaded)
        return [[(image.tobytes(), label) for image, label in zip(*pair, strict=True)] for pair in pairs]

    whole = stream(0, 1)
    samples.view = opened(path)
    assert stream(0, 1) == whole
    ranks = [stream(rank, world) for rank in range(world)]
    for index, batch in enumerate(whole):
        for rank in range(world):
            assert ranks[rank][index] == (batch[rank::world] or batch[:1])


def test_a_training_from_views_decodes_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for its batches nor for the rows of a validation; the control is a job without views."""
    params = support.write_params(tmp_path, {"a": {"epochs": 1, "train_images": 100}})
    with few_digits.only(300):
        support.prepared(tmp_path, params)
    job_spec = support.job_specs(tmp_path, params)["a"]
    job_spec.work.mkdir(parents=True)
    view.make(job_spec)
    decoded = list[Any]()
    decode = image_files.decode_stored

    def counted(data: Any, **how: Any) -> Any:
        decoded.append(data)
        return decode(data, **how)

    monkeypatch.setattr(image_files, "decode_stored", counted)
    trainer = loop.Trainer(job_spec, Ranks())
    trainer.epoch()
    assert not decoded
    without = loop.Trainer(dataclasses.replace(job_spec, views={}), Ranks())
    without.epoch()
    assert len(decoded) == 100 + len(trainer.held_out)
    assert without.history == trainer.history
