"""Trivial baselines: their scores against scikit-learn, by hand, and by brute force."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from pipeline import plugins, shards
from pipeline.evaluate import baseline
from pipeline.learners.base import Settings
from pipeline.sample import Sample

SIDE = 40


def settings(classes: tuple[str, ...], counts: tuple[int, ...] = ()) -> Settings:
    return Settings(classes, classes, counts, 3, SIDE, (0.5,) * 3, (0.25,) * 3)


def measure(root: Path, task: str, splits: dict[str, list[Sample]], of: Settings) -> dict[str, Any]:
    for split, samples in splits.items():
        shards.write_shard(root / f"{split}-0.arrow", samples)
    measured = baseline.measure(task, root, of, {}, resamples=100, seed=0)
    assert measured is not None
    assert measured["low"] <= measured["value"] <= measured["high"]
    return measured


def labelled(labels: list[int]) -> list[Sample]:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    return [Sample(str(at), pixels, group=str(at), label=label) for at, label in enumerate(labels)]


def test_of_classification_is_the_most_frequent_class(tmp_path: Path) -> None:
    train, test = [0] * 5 + [1] * 9 + [2] * 2, [0] * 6 + [1] * 3 + [2] * 1
    measured = measure(
        tmp_path,
        "classification",
        {"train": labelled(train), "test": labelled(test)},
        settings(("a", "b", "c"), (5, 9, 2)),
    )
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(train), 1)), train)
    assert measured["value"] == pytest.approx(dummy.score(np.zeros((len(test), 1)), test))
    assert (measured["title"], measured["metric"]) == ("always b", "top1")


def test_of_detection_finds_a_box_that_never_moves(tmp_path: Path) -> None:
    def boxed(boxes: list[list[float]]) -> list[Sample]:
        pixels, labels = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros(1, np.int64)
        return [
            Sample(str(at), pixels, group=str(at), boxes=np.array([box], np.float32), labels=labels)
            for at, box in enumerate(boxes)
        ]

    of = settings(("a", "b"), (2, 0))
    train = boxed([[8, 8, 16, 16], [12, 12, 20, 20]])
    (tmp_path / "hit").mkdir()
    (tmp_path / "miss").mkdir()
    hit = measure(tmp_path / "hit", "detection", {"train": train, "test": boxed([[10, 10, 18, 18]] * 3)}, of)
    miss = measure(tmp_path / "miss", "detection", {"train": train, "test": boxed([[28, 28, 38, 38]] * 3)}, of)
    assert (hit["value"], miss["value"]) == (pytest.approx(1.0), 0.0)


def mapped(count: int, *, bright: bool, share: float) -> list[Sample]:
    """Noisy images whose class 1 is a brighter, or a darker, stripe."""
    generator, samples = np.random.default_rng(count), []
    for at in range(count):
        truth = np.zeros((SIDE, SIDE), np.uint8)
        truth[:, : round(share * SIDE)] = 1
        levels = np.where(truth == 1, *((180, 70) if bright else (70, 180)))
        pixels = np.clip(levels[..., None] + generator.normal(0, 5, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        samples.append(Sample(str(at), pixels, group=str(at), semantic=truth))
    return samples


def best_threshold(gray: np.ndarray) -> float:
    """The threshold whose two sides vary least in themselves, by trying all."""

    def spread(level: float) -> float:
        sides = gray[gray <= level], gray[gray > level]
        return sum(side.var() * len(side) for side in sides if len(side))

    return min(np.unique(gray)[:-1], key=spread)


@pytest.mark.parametrize("bright", [True, False])
def test_of_two_kinds_of_pixels_is_otsus_threshold(tmp_path: Path, bright: bool) -> None:
    splits = {"train": mapped(6, bright=bright, share=0.4), "test": mapped(3, bright=bright, share=0.4)}
    measured = measure(tmp_path, "segmentation", splits, settings(("ground", "object")))
    assert measured["value"] == pytest.approx(1.0)
    assert ("bright" if bright else "dark") in measured["title"]
    task = plugins.load("tasks", "segmentation")
    predict = task.baseline(shards.split(tmp_path, "train"), settings(("ground", "object"))).predict
    item = shards.split(tmp_path, "test")[0]
    gray = item.pixels.mean(axis=2)
    assert (predict(item).ids == ((gray > best_threshold(gray)) == bright)).mean() > 0.99


def test_of_more_kinds_of_pixels_is_the_most_frequent_one(tmp_path: Path) -> None:
    splits = {"train": mapped(4, bright=True, share=0.25), "test": mapped(2, bright=True, share=0.25)}
    measured = measure(tmp_path, "segmentation", splits, settings(("ground", "object", "other")))
    assert measured["title"] == "ground at every pixel"
    assert measured["value"] == pytest.approx(0.75 / 2)  # IoU .75 and 0; the third class is nowhere


def test_a_task_may_have_none(tmp_path: Path) -> None:
    assert baseline.measure("generation", tmp_path, settings(("a",)), {}, resamples=100, seed=0) is None
