"""Kinds of errors and their costs: by hand, and beside a plain loop over the paper's rules."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.geometry import boxes as geometry
from pipeline.learners.base import Settings
from pipeline.learners.detector import Detections
from pipeline.metrics import coco_ap
from pipeline.metrics.detection_errors import KINDS, classify, costs
from pipeline.sample import Sample
from pipeline.tasks.parts import detection_rows

SIDE = 100
CLASSES = ("cat", "dog")
SETTINGS = Settings(CLASSES, (), (1, 1), 3, SIDE, (0.5,) * 3, (0.5,) * 3)


def image(
    true_boxes: list[list[float]], true_labels: list[int], found: list[list[float]], labels: list[int], name: str = "a"
) -> dict[str, object]:
    """The row of an image, with detections of falling scores."""
    scores = np.linspace(0.9, 0.2, len(found))
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    boxes = np.array(true_boxes, np.float32).reshape(-1, 4)
    item = Sample(name, pixels, boxes=boxes, labels=np.array(true_labels, np.int64))
    detections = Detections(np.array(found, float).reshape(-1, 4) / SIDE, np.array(labels, np.int64), scores)
    return {"id": name, **detection_rows.rows(item, detections)}


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        ([10, 10, 30, 30], 0, 0),
        ([10, 10, 30, 30], 1, "class"),
        ([10, 20, 30, 40], 0, "place"),
        ([10, 20, 30, 40], 1, "class and place"),
        ([70, 70, 90, 90], 0, "background"),
        ([28, 28, 48, 48], 0, "background"),  # an overlap below .1
    ],
)
def test_a_detection_by_its_overlap_and_class(box: list[float], label: int, kind: str | int) -> None:
    row = image([[10, 10, 30, 30]], [0], [box], [label])
    (number,) = np.frombuffer(row["errors"], np.uint8)  # type: ignore[call-overload]
    assert KINDS.get(int(number), 0) == kind
    missed = np.frombuffer(row["missed"], np.uint8)[0]  # type: ignore[call-overload]
    assert KINDS.get(int(missed)) == ("missed" if kind in ("class and place", "background") else None)


def test_the_second_detection_of_an_object_is_a_duplicate() -> None:
    row = image([[10, 10, 30, 30]], [0], [[10, 10, 30, 30], [11, 11, 31, 31]], [0, 0])
    assert [KINDS.get(kind) for kind in np.frombuffer(row["errors"], np.uint8)] == [None, "duplicate"]  # type: ignore[call-overload]


def test_what_correcting_a_class_gains() -> None:
    """Two cats, one of them called a dog, and a dog that is found: AP50 of cats .5 (51 of 101 recalls), of dogs 1."""
    row = image(
        [[10, 10, 30, 30], [50, 50, 70, 70], [10, 60, 30, 80]],
        [0, 0, 1],
        [[10, 60, 30, 80], [10, 10, 30, 30], [50, 50, 70, 70]],
        [1, 0, 1],
    )
    cost = costs(pa.Table.from_pylist([row]), 2)
    assert cost["class"] == pytest.approx((1 - 51 / 101) / 2)
    assert [cost[name] for name in KINDS.values() if name != "class"] == pytest.approx([0] * 5)


def test_of_two_wrong_places_one_finds_the_object() -> None:
    row = image([[10, 10, 30, 30]], [0], [[10, 20, 30, 40], [10, 22, 30, 42]], [0, 0])
    assert row["corrected"] == [0, -1]
    assert costs(pa.Table.from_pylist([row]), 1)["place"] == pytest.approx(1)


def test_without_objects_nothing_is_defined() -> None:
    row = image([], [], [[10, 20, 30, 40]], [0])
    assert all(np.isnan(value) for value in costs(pa.Table.from_pylist([row]), 2).values())


@pytest.mark.parametrize("seed", range(6))
def test_kinds_and_costs_are_those_of_a_plain_loop(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows, images = [], []
    for number in range(12):
        truth, labels = _random(draw, 6, jitter=None), draw.integers(2, size=6)
        chosen = draw.integers(6, size=14)
        found, called = _random(draw, 14, jitter=truth[chosen]), draw.integers(2, size=14)
        called = np.where(draw.random(14) < 0.7, labels[chosen], called)
        rows.append(image(truth.tolist(), labels.tolist(), found.tolist(), called.tolist(), str(number)))
        images.append((truth, labels, found, called))
    table = pa.Table.from_pylist(rows)
    before = coco_ap.scores(table, CLASSES)(np.ones(len(table), np.int64))["AP50"]
    expected = _plain(images)
    assert expected.pop("none") == pytest.approx(before)
    assert costs(table, 2) == pytest.approx({name: value - before for name, value in expected.items()})
    seen = {KINDS.get(kind) for row in rows for kind in np.frombuffer(row["errors"], np.uint8)}  # type: ignore[call-overload]
    assert len(seen) == 6


def test_ignored_objects_are_neither_missed_nor_found() -> None:
    overlap = np.array([[0.3, 0.8]])
    errors = classify(overlap, np.array([0]), np.array([2], np.uint8), np.array([0, 0]), np.array([True, False]))
    assert (errors.kinds.tolist(), errors.missed.tolist()) == ([0], [6, 0])


Floats = NDArray[np.float64]


def _random(draw: np.random.Generator, number: int, jitter: Floats | None) -> Floats:
    corners = draw.uniform(0, 60, (number, 2))
    boxes = np.concatenate([corners, corners + draw.uniform(15, 35, (number, 2))], axis=1)
    if jitter is None:
        return boxes
    moved = jitter + draw.normal(0, 5, jitter.shape)
    near = np.where((draw.random(number) < 0.8)[:, None], moved, boxes)
    return np.concatenate([near[:, :2], np.maximum(near[:, 2:], near[:, :2] + 2)], axis=1)


def _plain(images: list[tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64]]]) -> dict[str, float]:
    """AP50 as it is, and with each kind corrected, image by image and detection by detection."""
    entries: dict[str, list[tuple[float, int, bool]]] = {"none": []}
    totals = {"none": np.zeros(2)}
    for name in KINDS.values():
        entries[name], totals[name] = [], np.zeros(2)
    for truth, true_labels, found, labels in images:
        overlap = geometry.iou(found, truth.astype(np.float32).astype(float), np.zeros(len(truth), bool))
        scores, free, kinds, target = np.linspace(0.9, 0.2, len(found)), [True] * len(truth), {}, {}
        for at in range(len(found)):
            best = [n for n in range(len(truth)) if free[n] and labels[at] == true_labels[n] and overlap[at, n] >= 0.5]
            if best:
                free[max(best, key=overlap[at].__getitem__)] = False
                kinds[at] = "none"
        for at in range(len(found)):
            if at in kinds:
                continue
            same = [n for n in range(len(truth)) if labels[at] == true_labels[n]]
            other = [n for n in range(len(truth)) if labels[at] != true_labels[n]]
            own = max(same, key=overlap[at].__getitem__, default=None)
            foreign = max(other, key=overlap[at].__getitem__, default=None)
            if own is not None and 0.1 <= overlap[at, own] <= 0.5:
                kinds[at], target[at] = "place", own
            elif foreign is not None and overlap[at, foreign] >= 0.5:
                kinds[at], target[at] = "class", foreign
            elif any(overlap[at, n] >= 0.5 and not free[n] for n in same):
                kinds[at] = "duplicate"
            else:
                kinds[at] = "background" if overlap[at].max() <= 0.1 else "class and place"
        for name in entries:
            taken = set[int]()
            for at in range(len(found)):
                if kinds[at] == "none":
                    entries[name].append((scores[at], int(labels[at]), True))
                elif kinds[at] != name:
                    entries[name].append((scores[at], int(labels[at]), False))
                elif at in target and free[target[at]] and target[at] not in taken:
                    taken.add(target[at])
                    entries[name].append((scores[at], int(true_labels[target[at]]), True))
            for n in range(len(truth)):
                if name != "missed" or not free[n] or n in target.values():
                    totals[name][true_labels[n]] += 1
    return {
        name: float(np.mean([_ap(entries[name], label, totals[name][label]) for label in range(2)])) for name in entries
    }


def _ap(entries: list[tuple[float, int, bool]], label: int, total: float) -> float:
    hits = [hit for _, _, hit in sorted((e for e in entries if e[1] == label), key=lambda entry: -entry[0])]
    points = [(sum(hits[: n + 1]) / total, sum(hits[: n + 1]) / (n + 1)) for n in range(len(hits))]
    return float(np.mean([max((p for r, p in points if r >= level), default=0) for level in np.linspace(0, 1, 101)]))
