"""Detection's numbers are those of pycocotools, of a brute force over its definition, and of worked examples.

`data/coco_detection.json` holds images, detections and what pycocotools 2.0 made of them: random integer boxes of 16
to 220 pixels, ellipses inside them as masks, scores in eighths and sixteenths (so that many are equal), 15 % crowds,
an image without anything in it, and one with more than 100 detections of a class. True ones marked difficult had
area −1 there, which lies in no range. Made by `COCOeval(truth, truth.loadRes(found), "bbox")` and `"segm"`, then
`evaluate(); accumulate(); summarize()`; `AP[c]` is the mean of `eval["precision"][:, :, c, 0, 2]`.
"""

import dataclasses
import json
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.geometry import boxes as geometry
from pipeline.learners.detector import Detections, GroundTruth
from pipeline.metrics import coco_ap
from pipeline.sample import Facts, Sample
from pipeline.tasks import detection
from tests.helpers.detections import (
    BOX,
    MANY,
    SETTINGS,
    SIZE,
    case,
    detections_of,
    golden,
    many,
    sample,
    scored,
)


def test_scores_are_those_of_pycocotools() -> None:
    samples, predictions, expected = golden()
    scores = scored(samples, predictions)
    of_boxes = {f"box_{name}": value for name, value in expected["bbox"].items()}
    assert set(scores) == {*of_boxes, "box_AP50_voc07", "box_AP50_voc10"}
    assert {name: scores[name] for name in of_boxes} == pytest.approx(of_boxes, rel=0, abs=1e-9)


@pytest.mark.parametrize("most", MANY)
def test_more_than_a_hundred_detections_count_where_that_is_asked(most: int) -> None:
    table = pa.Table.from_pylist([detection.rows(*many())])
    scores = detection.scorer(table, SETTINGS, detections=most)(np.ones(1, np.int64))
    expected = {
        "box_AR10": 5 / 300,
        "box_AR100": MANY[100]["box_AR"],
        "box_AR_small": MANY[most]["box_AR"],
        **MANY[most],
    }
    expected[f"box_AR{most}"] = expected.pop("box_AR")
    assert {name: scores[name] for name in expected} == pytest.approx(expected, rel=0, abs=1e-9)
    limits = [name.removeprefix("box_AR") for name in scores if re.fullmatch(r"box_AR\d+", name)]
    assert limits == ["1", "10", "100", "300"][: 3 + (most > 100)]
    few = detection.scorer(table, SETTINGS, detections=1)(np.ones(1, np.int64))
    assert few["box_mAP"] <= few["box_AP50"] <= 1 / 101 + 1e-9
    assert "box_AR10" not in few


def test_three_hundred_objects_and_a_thousand_detections_need_little_memory() -> None:
    """Overlaps are 1,000×300; what a detection may be matched with is looked at one detection at a time."""
    asked, given = many()
    tracemalloc.start()
    try:
        table = pa.Table.from_pylist([detection.rows(asked, given)])
        detection.scorer(table, SETTINGS, detections=1000)(np.ones(1, np.int64))
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()
    assert len(table["scores"][0]) == 1000
    assert len(detection.rows(asked, given.take(np.tile(np.arange(1000), 2)))["scores"]) == coco_ap.STORED_LIMIT


def by_brute_force(samples: list[Sample], predictions: list[Detections]) -> float:
    """Mean average precision over classes and overlaps, step by step."""
    results = []
    for label in range(3):
        for least in np.linspace(0.5, 0.95, 10):
            outcomes, total = [], 0
            for item, detections in zip(samples, predictions, strict=True):
                truth, mine = GroundTruth.of(item), np.flatnonzero(detections.labels == label)
                there = np.flatnonzero(truth.labels == label)
                total += int((~truth.crowd[there]).sum())
                overlap = geometry.iou(detections.boxes_in_pixels(*SIZE), truth.boxes, truth.crowd)
                free = {index for index in there if not truth.crowd[index]}
                for index in sorted(mine, key=lambda index: -detections.scores[index]):
                    best = max(free, key=lambda other: overlap[index, other], default=None)
                    if best is not None and overlap[index, best] >= least:
                        free.remove(best)
                        outcomes.append((detections.scores[index], 1))
                    elif not any(overlap[index, other] >= least for other in there if truth.crowd[other]):
                        outcomes.append((detections.scores[index], 0))
            right = np.array([hit for _, hit in sorted(outcomes, reverse=True)])
            hits = np.cumsum(right)
            precision, recall = hits / np.arange(1, len(hits) + 1), hits / total
            results.append(np.mean([max(precision[recall >= r], default=0.0) for r in np.linspace(0, 1, 101)]))
    return float(np.mean(results))


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_a_brute_force_for_repeated_images(seed: int) -> None:
    samples, predictions = case(seed, 12)
    counts = np.random.default_rng(seed).integers(0, 4, 12)
    again = np.repeat(np.arange(12), counts)
    expected = by_brute_force([samples[index] for index in again], [predictions[index] for index in again])
    assert 0.1 < expected < 0.9
    assert scored(samples, predictions, counts)["box_mAP"] == pytest.approx(expected, abs=1e-12)
    repeated = scored([samples[index] for index in again], [predictions[index] for index in again])
    weighted = scored(samples, predictions, counts)
    assert weighted == pytest.approx({name: repeated[name] for name in weighted}, nan_ok=True, abs=1e-12)


def test_a_worked_example() -> None:
    """Two of three detected, with a false positive between them: precision 1 up to 1/3, then 2/3 up to 2/3."""
    true = [{"box": [0, 0, 40, 40]}, {"box": [50, 0, 90, 40]}, {"box": [0, 50, 40, 90]}]
    items = [
        {"box": [0, 0, 40, 40], "score": 0.9},
        {"box": [60, 60, 90, 90], "score": 0.8},
        {"box": [50, 0, 90, 40], "score": 0.7},
    ]
    scores = scored([sample(true)], [detections_of(items)])
    assert scores["box_mAP"] == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert (scores["box_AR1"], scores["box_AR10"]) == pytest.approx((1 / 3, 2 / 3))
    row = detection.rows(sample(true), detections_of(items))
    assert row["severity"] == 2  # one missed, one false positive
    assert np.isnan(scores["box_AP[1]"])
    assert "box_AP_large" not in scores


def match(true: Sequence[dict[str, Any]], boxes: list[list[int]], **fields: Any) -> list[int]:
    """Matches of detections of equal scores, at overlap 0.5 and any size."""
    row = detection.rows(sample(true, **fields), detections_of([{"box": box, "score": 0.5} for box in boxes]))
    return np.frombuffer(row["box_matches"], np.uint8).reshape(-1, 4, 10)[:, 0, 0].tolist()


def test_duplicates_are_false_positives_but_in_a_crowd_ignored() -> None:
    false_positive, true_positive, ignored = coco_ap.FALSE_POSITIVE, coco_ap.TRUE_POSITIVE, coco_ap.IGNORED
    assert match([{"box": BOX}], [BOX, BOX]) == [true_positive, false_positive]
    assert match([{"box": BOX, "difficult": True}], [BOX, BOX]) == [ignored, false_positive]
    assert match([{"box": BOX, "crowd": True}], [BOX, BOX, [0, 0, 10, 10]]) == [ignored, ignored, false_positive]
    assert match([{"box": [0, 0, 100, 100], "crowd": True}], [BOX]) == [ignored]  # inside a crowd: all of it overlaps
    assert match([{"box": [0, 0, 100, 100]}], [BOX]) == [false_positive]
    assert match([{"box": BOX, "label": 1}], [BOX]) == [false_positive]


def test_scored_objects_are_matched_before_ignored_ones() -> None:
    """Although it overlaps less; and what is left then goes to the difficult one."""
    true: list[dict[str, Any]] = [{"box": BOX, "difficult": True}, {"box": [10, 10, 50, 45]}]
    assert match(true, [BOX, BOX]) == [coco_ap.TRUE_POSITIVE, coco_ap.IGNORED]


@pytest.mark.parametrize(("size", "counted"), [(None, [1, 0, 1, 0]), ((300, 300), [1, 0, 0, 1])])
def test_areas_are_of_the_original_image(size: tuple[int, int] | None, counted: list[int]) -> None:
    enlarged = dataclasses.replace(sample([{"box": BOX}]), size=size)
    assert list(detection.rows(enlarged, detections_of([]))["counted"]) == counted


def test_images_without_objects_or_detections() -> None:
    scores = scored([sample([]), sample([{"box": BOX}])], [detections_of([]), detections_of([])])
    assert scores["box_mAP"] == 0
    assert np.isnan(scored([sample([])], [detections_of([])])["box_mAP"])
    assert scored([sample([]), sample([{"box": BOX}])], [detections_of([]), detections_of([{"box": BOX, "score": 1}])])[
        "box_mAP"
    ] == pytest.approx(1)


def test_collate_leaves_out_ignored_objects_and_boxes_without_area() -> None:
    true: list[dict[str, Any]] = [
        {"box": BOX, "label": 2},
        {"box": [0, 0, 9, 9], "crowd": True},
        {"box": [0, 0, 9, 9], "difficult": True},
        {"box": [5, 5, 5, 9]},
    ]
    images, (target, empty) = detection.collate([sample(true), sample([])], SETTINGS)
    assert (images.shape, images.dtype) == ((2, 3, *SIZE), torch.uint8)
    assert target["boxes"].tolist() == [BOX]
    assert target["labels"].tolist() == [2]
    assert {name: tuple(value.shape) for name, value in empty.items()} == {"boxes": (0, 4), "labels": (0,)}


class Known(nn.Module):
    """Says what it was given: the images' mean as a loss, and one box for each image."""

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:
        if targets is not None:
            return {"loss_mean": images.mean(), "loss_boxes": torch.tensor(float(len(targets)))}
        one = {"boxes": torch.tensor([[8.0, 0, 16, 32]]), "labels": torch.tensor([1]), "scores": torch.tensor([0.75])}
        return [one for _ in images]


def test_the_learner_hands_on_images_and_targets_and_answers_in_fractions() -> None:
    learner = detection.learner(Known(), SETTINGS)
    images = torch.full((2, 3, 32, 32), 255, dtype=torch.uint8)
    losses = learner(images, [{}, {}])
    assert {name: float(value) for name, value in losses.items()} == {"loss_mean": 2, "loss_boxes": 2}
    first, _ = learner(images)
    assert first.boxes.tolist() == [[0.25, 0, 0.5, 1]]
    assert first.boxes_in_pixels(10, 100).tolist() == [[25, 0, 50, 10]]
    assert (first.labels.tolist(), first.scores.tolist(), first.masks) == ([1], [0.75], None)


def test_answer_and_back() -> None:
    asked = Sample("x", np.zeros((30, 70, 3), np.uint8), label=0)
    given = detections_of([{"box": [1, 2, 3, 4], "label": 1, "score": 0.25}, {"box": BOX, "score": 0.5}])
    answered = json.loads(json.dumps(detection.answer(asked, given, SETTINGS)))
    assert list(answered) == list(detection.OUTPUT)
    assert answered["boxes"][:4] == pytest.approx([0.7, 0.6, 2.1, 1.2])
    assert answered["labels"] == ["1", "0"]
    back = detection.prediction(asked, answered, SETTINGS)
    np.testing.assert_allclose(back.boxes, given.boxes, rtol=1e-15)
    assert (back.labels.tolist(), back.scores.tolist()) == ([1, 0], [0.25, 0.5])
    nothing = detection.prediction(asked, detection.answer(asked, detections_of([]), SETTINGS), SETTINGS)
    assert nothing.boxes.shape == (0, 4)


def colors(picture: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}


def test_pictures_color_true_positives_false_positives_and_misses() -> None:
    from pipeline.plots.detections import YELLOW
    from pipeline.plots.figures import GREEN, RED

    hit = {"box": BOX, "score": 0.9}
    for true, items, expected in (
        ([{"box": BOX}], [hit], {GREEN}),
        ([], [hit], {RED}),
        ([{"box": BOX}], [hit | {"score": 0.4}], {YELLOW}),
        ([{"box": BOX}], [hit | {"label": 1}], {RED, YELLOW}),
        ([{"box": BOX, "difficult": True}], [], set()),
    ):
        picture = detection.draw(sample(true), detections_of(items), SETTINGS)
        assert picture.shape == (160, 160, 3)
        assert picture.dtype == np.uint8
        assert colors(picture) & {GREEN, RED, YELLOW} == expected
    unknown = dataclasses.replace(sample([]), boxes=None, labels=None)
    assert colors(detection.draw(unknown, detections_of([hit]), SETTINGS)) & {GREEN, RED, YELLOW} == {GREEN}


def test_a_crowd_is_drawn_without_words_that_would_hide_it() -> None:
    from pipeline.plots.detections import CROWD
    from pipeline.plots.figures import RED

    def reds(count: int) -> float:
        picture = detection.draw(sample([]), detections_of([{"box": BOX, "score": 0.9}] * count), SETTINGS)
        assert picture.shape[0] == (160 if count <= CROWD else 256)
        return float((picture == RED).all(axis=2).mean())

    assert reds(CROWD + 1) < 0.5 * reds(CROWD)


def test_figures() -> None:
    samples, predictions = case(0, 5)
    table = pa.Table.from_pylist([detection.rows(*pair) for pair in zip(samples, predictions, strict=True)])
    figures = detection.figures(table, SETTINGS)
    assert list(figures) == ["box-precision-recall", "box-precision-recall-by-class", "cost-of-errors"]
    assert all(isinstance(figure, Figure) for figure in figures.values())
    (axes,), (by_class,), _ = (figure.axes for figure in figures.values())
    assert len(axes.lines) == 5
    scores = detection.scorer(table, SETTINGS)(np.ones(len(table), np.int64))
    *classes, middle = (np.asarray(line.get_ydata(), np.float64) for line in by_class.lines)
    assert len(classes) == 3
    assert middle.mean() == pytest.approx(scores["box_AP50"])
    np.testing.assert_allclose(np.mean(classes, axis=0), middle)
    assert by_class.lines[-1].get_label() == f"mean {scores['box_AP50']:.2f}"


def test_of_many_classes_only_the_mean_has_a_name() -> None:
    table = pa.Table.from_pylist([detection.rows(sample([{"box": BOX}]), detections_of([{"box": BOX, "score": 1}]))])
    many_classes = dataclasses.replace(SETTINGS, classes=tuple(map(str, range(11))))
    (axes,) = detection.figures(table, many_classes)["box-precision-recall-by-class"].axes
    assert len(axes.lines) == 2  # of ten classes there is nothing
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["mean 1.00"]


FACTS = Facts("x", ("0",), (), {"train": 2, "val": 1, "test": 1}, (1,), ("boxes", "labels"), {}, {})


def test_ignored_objects_and_boxes_without_area_teach_nothing() -> None:
    useless = [sample([{"box": BOX, "crowd": True}]), sample([{"box": BOX, "difficult": True}]), sample([])]
    useless.append(sample([{"box": [5, 5, 5, 9]}]))
    assert detection.missing(FACTS, useless) == "no box"
    assert detection.missing(FACTS, [*useless, sample([{"box": BOX}])]) is None
    assert detection.missing(dataclasses.replace(FACTS, class_counts=(0,)), [sample([{"box": BOX}])]) == "no box"


def test_no_more_train_images_are_read_than_are_needed() -> None:
    class Train(list[Sample]):
        """The first image only."""

        def __iter__(self) -> Iterator[Sample]:
            yield sample([{"box": BOX}])
            raise AssertionError("a second image is read")

    assert detection.missing(FACTS, Train()) is None
