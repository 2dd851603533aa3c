"""Region proposals, staged for every split: they move with the image, and whoever lacks them has them computed."""

import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import checkpoint, images, processes, sample, shards, store
from pipeline.augment import joined, stage
from pipeline.augment.derived import proposals as derived
from pipeline.augment.policy import Policy
from pipeline.errors import UserError
from pipeline.evaluate import predict, speed
from pipeline.evaluate import stage as evaluate_stage
from pipeline.geometry import selective_search
from pipeline.params import Params
from pipeline.prepare import stage as prepare_stage
from pipeline.sample import SPLITS, Sample
from pipeline.train import loader
from pipeline.train import stage as train_stage
from tests.helpers import support

OPTIONS: dict[str, Any] = {"least": 4.0, "side": 40}
JOB = {
    "task": "detection",
    "architecture": "fast_rcnn",
    "dataset": "tiny",
    "size": 64,
    "epochs": 1,
    "batch": 4,
    "lr": 0.001,
    "clip": 1.0,
    "options": {"backbone": "lenet5", "head_width": 16, "score": 0.0, "detections": 5},
}


def params(**options: Any) -> Params:
    tiny = {"format": "scenes", "options": {"train": 6, "val": 2, "test": 3}, "derived": {"proposals": options}}
    other = {**JOB, "architecture": "yolo", "options": {}}
    value = {
        "datasets": {"tiny": tiny},
        "roster": ["regions"],
        "jobs": {"regions": JOB, "cells": other},
        "evaluate": {"resamples": 100, "pictures": 0},
    }
    return Params.model_validate(value)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven small scenes, prepared, staged, and learnt from and evaluated once; read-only."""
    path = tmp_path_factory.mktemp("regions")
    prepare_stage.run(params(**OPTIONS), path)
    stage.run(params(**OPTIONS), path)
    with pytest.MonkeyPatch.context() as patch:
        from pipeline.train import ray_train

        patch.setattr(ray_train, "run", support.train_here)
        train_stage.run(params(**OPTIONS), path)
    evaluate_stage.run(params(**OPTIONS), path)
    return path


def picture(height: int = 48, width: int = 60) -> Sample:
    pixels = np.full((height, width, 3), 60, np.uint8)
    pixels[6:30, 8:28] = (220, 40, 40)
    pixels[20:44, 36:56] = (40, 40, 220)
    return Sample("x", pixels)


def test_proposals_are_those_of_selective_search() -> None:
    item = picture()
    found = derived.build(least=6.0)(item)
    np.testing.assert_array_equal(found, selective_search.selective_search(item.pixels, least=6.0))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(derived.build(least=6.0, limit=3)(item), found[:3])


def test_a_large_image_is_searched_smaller() -> None:
    """What is found there is brought to the large one's pixels, in which `least` does not count."""
    large = picture().pixels.repeat(2, 0).repeat(2, 1)
    found = derived.build(least=6.0, side=60)(Sample("x", large))
    small = images.resize(large, 48, 60)
    np.testing.assert_array_equal(found, 2 * selective_search.selective_search(small, least=6.0))
    assert len(found) > 3


@pytest.mark.parametrize(("options", "told"), [({"mode": "fats"}, "did you mean 'fast'"), ({"limit": 0}, "limit 0")])
def test_wrong_options_are_reported_before_anything_is_searched(root: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=rf"datasets\.tiny\.derived\.proposals: .*{told}"):
        stage.derive(root / "nowhere", "proposals", options, root / "data/prepared/tiny")


def test_every_split_has_them_staged(root: Path) -> None:
    folder = root / "data/augmented/tiny-proposals"
    assert store.read_json(folder / joined.OPTIONS) == OPTIONS
    compute = derived.build(**OPTIONS)
    for split in SPLITS:
        stored = shards.split(root / "data/prepared/tiny", split)
        found = joined.joined(stored, split, {"proposals": folder})
        assert len(found) == len(stored) > 0
        np.testing.assert_array_equal(found[1].proposals, compute(stored[1]))


def test_only_jobs_that_need_them_ask_for_them(root: Path) -> None:
    every, plain = (params(**options).choose(["cells"]) for options in ({"least": 5.0}, {"least": 7.0}))
    job_specs = [train_stage.job_specs(value, root)["cells"] for value in (every, plain)]
    assert job_specs[0].fingerprint == job_specs[1].fingerprint
    assert job_specs[0].derived == {}
    needing = train_stage.job_specs(params(**OPTIONS), root)["regions"]
    assert set(needing.derived) == {"proposals"}


def test_several_processes_write_the_same_bytes(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 2)
    monkeypatch.setattr(processes, "ALONE_S", 0.0)
    stage.derive(tmp_path, "proposals", OPTIONS, root / "data/prepared/tiny")
    for path in (root / "data/augmented/tiny-proposals").glob("*.arrow"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_a_split_in_several_parts_is_whole(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "PART_IMAGES", 4)
    stored = shards.split(root / "data/prepared/tiny", "train")
    parts = joined.parts(stored, "train", "proposals", OPTIONS, tmp_path)
    assert [len(part.indices) for part in parts] == [4, 2]
    for part in parts:
        joined.make(part)
    found = joined.joined(stored, "train", {"proposals": tmp_path})
    assert [item.id for item in found] == stored.column("id")


def test_they_are_flipped_by_hand() -> None:
    item = dataclasses.replace(picture(), proposals=np.array([[2, 3, 10, 8], [0, 0, 60, 48]], np.float32))
    flipped = Policy([{"horizontal_flip": {"p": 1.0}}])(item, 0)
    assert flipped.proposals is not None
    np.testing.assert_allclose(flipped.proposals, [[50, 3, 58, 8], [0, 0, 60, 48]])
    small = sample.resized(item, 24, 120)
    assert small.proposals is not None
    np.testing.assert_allclose(small.proposals, np.array([[4, 1.5, 20, 4], [0, 0, 120, 24]], np.float32))


@pytest.mark.parametrize("name", derived.TRANSFORMS)
def test_they_move_as_objects_do(name: str) -> None:
    boxes = np.array([[8, 6, 28, 30], [36, 20, 56, 44]], np.float32)
    item = dataclasses.replace(picture(), boxes=boxes, labels=np.array([0, 1]), proposals=boxes.copy())
    options = {"p": 1.0} | ({"limit": 0.2} if name in ("shift", "scale") else {})
    moved = Policy([{name: options}])(item, 3)
    np.testing.assert_array_equal(moved.proposals, moved.boxes)
    assert name in derived.TRANSFORMS
    assert np.array_equal(moved.boxes, boxes) == (name not in derived.TRANSFORMS[:4])  # type: ignore[arg-type]


def test_a_job_learns_from_moved_ones(root: Path) -> None:
    order = train_stage.job_specs(params(**OPTIONS).choose(["regions"]), root)["regions"]
    policy = [{"horizontal_flip": {"p": 1.0}}]
    samples = loader.train_samples(order.job, policy, order.prepared, None, order.derived)
    item = samples[(0, 1)]
    stored = derived.build(**OPTIONS)(shards.split(order.prepared, "train")[1]) / 2
    assert item.proposals is not None
    np.testing.assert_allclose(
        item.proposals, np.stack([64 - stored[:, 2], stored[:, 1], 64 - stored[:, 0], stored[:, 3]], 1)
    )


def test_served_answers_are_those_of_the_evaluation(root: Path) -> None:
    """There proposals were staged, here they are computed from the image's bytes."""
    from pipeline.register.predictor import Predictor

    table = pq.read_table(root / "evaluations/regions/test.parquet")
    predictor = Predictor()
    predictor.load_context(SimpleNamespace(artifacts={"model": str(root / "models/regions")}))
    stored = shards.split(root / "data/prepared/tiny", "test")
    asked = pd.DataFrame({"image": [images.encode_png(item.pixels) for item in stored]})
    answers = predictor.predict(None, asked).to_dict("records")
    assert len(answers) == 3
    for answer, row in zip(answers, table.to_pylist(), strict=True):
        assert len(answer["scores"]) == 5
        np.testing.assert_allclose(answer["scores"], row["scores"], rtol=1e-5)


def test_an_image_without_its_proposals_takes_as_long_as_the_search(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latency that is measured is of images as a user has them."""
    asked = []

    def search(*given: Any, **options: Any) -> Any:
        asked.append(options["least"])
        time.sleep(0.3)
        return np.array([[2, 2, 30, 30]], np.float32)

    monkeypatch.setattr(derived, "selective_search", search)
    monkeypatch.setattr(speed, "REPEATS", 1)
    monkeypatch.setattr(speed, "disturbance", lambda *_, **__: None)
    monkeypatch.setattr(speed, "BATCH", 2)
    learner, _ = checkpoint.load(root / "models/regions")
    ask = predict.predictor(learner, "detection")
    stored = shards.split(root / "data/prepared/tiny", "test")
    assert speed.measure(ask, stored)["latency_ms"] >= 300
    assert set(asked) == {4.0}
    asked.clear()
    ask([joined.joined(stored, "test", {"proposals": root / "data/augmented/tiny-proposals"})[0]])
    assert asked == []


def test_the_speed_that_evaluate_reports_has_the_search_in_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def measure(_: Any, stored: Any, device: str) -> dict[str, float]:
        seen.append(stored[0].proposals)
        return {"latency_ms": 1.0}

    monkeypatch.setattr(speed, "measure", measure)
    job = params(**OPTIONS).jobs["regions"]
    evaluate_stage._measure_speed(root, "regions", job, "another")
    assert seen == [None]
