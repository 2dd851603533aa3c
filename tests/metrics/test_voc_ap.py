"""PASCAL VOC's average precision is that of its rule, step by step in whole pixels, and of worked examples."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.learners.detector import Detections
from pipeline.metrics import coco_ap
from pipeline.sample import Sample
from pipeline.tasks import detection
from tests.helpers.detections import BOX, SETTINGS, SIZE, case, detections_of, sample, scored

NAMES = ("box_AP50_voc07", "box_AP50_voc10")


def voc(samples: list[Sample], predictions: list[Detections], counts: Any = None) -> tuple[float, ...]:
    scores = scored(samples, predictions, counts)
    return tuple(scores[name] for name in NAMES)


def overlap(a: list[int], b: list[int]) -> Fraction:
    """As the development kit has it: boxes are of pixels from 1, and the last belongs to them."""
    (a_left, a_top), (b_left, b_top) = ([value + 1 for value in box[:2]] for box in (a, b))
    wide = min(a[2], b[2]) - max(a_left, b_left) + 1
    high = min(a[3], b[3]) - max(a_top, b_top) + 1
    if wide <= 0 or high <= 0:
        return Fraction(0)
    joint = (a[2] - a_left + 1) * (a[3] - a_top + 1) + (b[2] - b_left + 1) * (b[3] - b_top + 1) - wide * high
    return Fraction(wide * high, joint)


def by_the_development_kit(samples: list[Sample], predictions: list[Detections]) -> tuple[float, float]:
    """VOCevaldet.m, in fractions; and its two ways to average: eleven recalls, and the area under the envelope."""
    by_points, by_area = [], []
    for label in range(3):
        answers, objects, taken = [], {}, set[tuple[int, int]]()
        for image, (item, detections) in enumerate(zip(samples, predictions, strict=True)):
            assert item.boxes is not None
            assert item.labels is not None
            assert item.difficult is not None
            objects[image] = [
                (box, bool(difficult))
                for box, own, difficult in zip(
                    item.boxes.astype(int).tolist(), item.labels, item.difficult, strict=True
                )
                if own == label
            ]
            boxes = np.rint(detections.boxes_in_pixels(*SIZE)).astype(int).tolist()
            answers += [
                (-score, image, box)
                for box, own, score in zip(boxes, detections.labels, detections.scores, strict=True)
                if own == label
            ]
        total = sum(not difficult for image in objects.values() for _, difficult in image)
        true, false, curve = 0, 0, []
        for _, image, box in sorted(answers, key=lambda answer: answer[0]):
            most, best = Fraction(0), -1
            for index, (other, _) in enumerate(objects[image]):
                if overlap(box, other) > most:
                    most, best = overlap(box, other), index
            if most >= Fraction(1, 2):
                if not objects[image][best][1]:
                    if (image, best) in taken:
                        false += 1
                    else:
                        true, taken = true + 1, taken | {(image, best)}
            else:
                false += 1
            curve.append((Fraction(true, total), Fraction(true, max(true + false, 1))))
        best_from = {recall: max(p for r, p in curve if r >= recall) for recall, _ in curve}
        points = [max((p for r, p in curve if r >= Fraction(k, 10)), default=Fraction(0)) for k in range(11)]
        by_points.append(sum(points) / 11)
        recalls = [Fraction(0), *sorted(best_from)]
        by_area.append(sum((high - low) * best_from[high] for low, high in itertools.pairwise(recalls)))
    return float(sum(by_points) / 3), float(sum(by_area) / 3)


def crowded(seed: int) -> tuple[list[Sample], list[Detections]]:
    """Random images in which objects overlap one another, a fifth of them difficult and none a crowd."""
    samples, predictions = case(seed, 15)
    rng = np.random.default_rng(seed)
    changed = []
    for item in samples:
        assert item.boxes is not None
        assert item.labels is not None
        boxes = np.repeat(item.boxes, 2, axis=0)
        boxes[1::2] += rng.integers(-6, 7, (len(item.boxes), 4))
        labels = np.repeat(item.labels, 2)
        difficult = rng.random(len(boxes)) < 0.2
        changed.append(Sample(item.id, item.pixels, boxes=boxes, labels=labels, difficult=difficult))
    return changed, predictions


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_the_development_kit_for_repeated_images(seed: int) -> None:
    samples, predictions = crowded(seed)
    counts = np.random.default_rng(seed).integers(0, 4, 15)
    again = np.repeat(np.arange(15), counts)
    repeated = [samples[index] for index in again], [predictions[index] for index in again]
    expected = by_the_development_kit(*repeated)
    assert 0.1 < expected[0] != pytest.approx(expected[1])
    assert voc(samples, predictions, counts) == pytest.approx(expected, abs=1e-12)
    assert voc(*repeated) == pytest.approx(expected, abs=1e-12)
    assert scored(samples, predictions, counts)["box_AP50"] != pytest.approx(expected[1], abs=1e-3)


def test_a_worked_example() -> None:
    """Two of four objects detected, with a false positive between: precision 1 up to 1/4, 2/3 up to 1/2, then 0."""
    corners = [[0, 0, 40, 40], [50, 0, 90, 40], [0, 50, 40, 90], [50, 50, 90, 90]]
    items = [
        {"box": corners[0], "score": 0.9},
        {"box": [20, 20, 60, 60], "score": 0.8},
        {"box": corners[1], "score": 0.7},
    ]
    expected = (3 * 1 + 3 * 2 / 3) / 11, (1 + 2 / 3) / 4
    assert voc([sample([{"box": box} for box in corners])], [detections_of(items)]) == pytest.approx(expected)


def test_three_of_ten_are_three_tenths() -> None:
    """Though 3 × 0.1 is more than 0.3 in floating point."""
    boxes = [[10 * index, 0, 10 * index + 9, 9] for index in range(10)]
    detections = detections_of([{"box": box, "score": 0.9} for box in boxes[:3]])
    assert voc([sample([{"box": box} for box in boxes])], [detections]) == pytest.approx((4 / 11, 3 / 10))


def match(true: list[dict[str, Any]], boxes: list[list[int]]) -> list[int]:
    row = detection.rows(sample(true), detections_of([{"box": box, "score": 0.5} for box in boxes]))
    return list(row["box_voc_matches"])


def test_a_detection_is_assigned_to_the_object_it_overlaps_most() -> None:
    """COCO would match a second one with another object."""
    false_positive, true_positive, ignored = coco_ap.FALSE_POSITIVE, coco_ap.TRUE_POSITIVE, coco_ap.IGNORED
    near = [10, 10, 50, 45]
    assert match([{"box": BOX}, {"box": near}], [BOX, BOX]) == [true_positive, false_positive]
    assert match([{"box": BOX}, {"box": near}], [BOX, near]) == [true_positive, true_positive]
    assert match([{"box": BOX, "difficult": True}, {"box": near}], [BOX, BOX, near]) == [
        ignored,
        ignored,
        true_positive,
    ]
    assert match([{"box": BOX, "label": 1}], [BOX]) == [false_positive]
    assert match([{"box": [10, 10, 50, 30]}], [BOX, [10, 10, 50, 51]]) == [
        true_positive,
        false_positive,
    ]  # a half is enough


def test_an_unmatched_detection_in_a_crowd_is_ignored() -> None:
    false_positive, true_positive, ignored = coco_ap.FALSE_POSITIVE, coco_ap.TRUE_POSITIVE, coco_ap.IGNORED
    crowd = {"box": [0, 0, 100, 100], "crowd": True}
    assert match([crowd, {"box": BOX}], [BOX, BOX, [60, 60, 80, 80]]) == [true_positive, false_positive, ignored]


def test_without_true_objects_there_is_no_score() -> None:
    assert np.isnan(voc([sample([])], [detections_of([])])).all()
    assert voc([sample([{"box": BOX}])], [detections_of([])]) == (0, 0)
    table = pa.Table.from_pylist([detection.rows(sample([{"box": BOX}]), detections_of([{"box": BOX, "score": 1}]))])
    assert detection.scorer(table, SETTINGS)(np.zeros(1, np.int64)).keys() >= set(NAMES)
