"""Masks are pasted into their boxes, and scored as pycocotools scores them."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.geometry import rle
from pipeline.learners import detector
from pipeline.learners.detector import Detections
from pipeline.sample import Sample
from pipeline.tasks import instance_segmentation
from tests.helpers.detections import BOX, SETTINGS, SIZE, detections_of, ellipse, golden, sample

ROUND = ellipse(SIZE, BOX)


def test_scores_are_those_of_pycocotools() -> None:
    samples, predictions, expected = golden()
    rows = [instance_segmentation.rows(*pair) for pair in zip(samples, predictions, strict=True)]
    scores = instance_segmentation.scorer(pa.Table.from_pylist(rows), SETTINGS)(np.ones(len(rows), np.int64))
    for prefix, kind in (("mask_", "segm"), ("box_", "bbox")):
        expected_here = {f"{prefix}{name}": value for name, value in expected[kind].items()}
        assert {name: scores[name] for name in expected_here} == pytest.approx(expected_here, rel=0, abs=1e-9)
    assert len(scores) == 2 * (len(expected["segm"]) + len(("voc07", "voc10")))
    assert {"mask_AP50_voc07", "box_AP50_voc10"} <= set(scores)


def pasted(values: list[list[float]], box: list[float], height: int, width: int) -> list[list[int]]:
    encoded = detector.paste_mask(np.array(values, np.float16), np.array(box), height, width)
    return rle.decode(encoded, height, width).astype(int).tolist()


def test_a_mask_fills_its_box_and_no_more() -> None:
    whole = pasted([[1, 1], [1, 1]], [1, 1, 4, 3], 4, 6)
    assert whole == [[0] * 6, [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0] * 6]
    assert pasted([[1, 0], [1, 0]], [0, 0, 4, 2], 2, 4) == [[1, 1, 0, 0]] * 2
    assert pasted([[1, 1], [1, 1]], [-3, -3, 2, 1], 2, 4) == [[1, 1, 0, 0], [0] * 4]  # cut at the border
    assert pasted([[1, 1], [1, 1]], [1, 1, 1, 1], 2, 2) == [[0, 0], [0, 0]]  # a box without area
    assert pasted([[0.4, 0.4], [0.4, 0.4]], [0, 0, 2, 2], 2, 2) == [[0, 0], [0, 0]]


def test_a_fine_mask_is_pasted_at_any_size() -> None:
    values = rle.decode(ellipse((28, 28), [0, 0, 28, 28]), 28, 28).astype(np.float16)
    given = Detections(np.array([[0.1, 0.1, 0.5, 0.5]]), np.zeros(1, np.int64), np.ones(1), values[None])
    for height, width in ((100, 100), (50, 200)):
        box = [int(0.1 * width), int(0.1 * height), int(0.5 * width), int(0.5 * height)]
        overlap = rle.iou(given.masks_in_pixels(height, width), [ellipse((height, width), box)])
        assert overlap[0, 0] > 0.93


def test_boxes_and_masks_are_matched_separately() -> None:
    """A right box with a mask of half of it: a true positive at all overlaps as a box, at none as a mask."""
    half = np.zeros((1, 28, 28), np.float16)
    half[:, :, :13] = 1
    row = instance_segmentation.rows(
        sample([{"box": BOX}], masks=[ROUND]), detections_of([{"box": BOX, "score": 1}], masks=half)
    )
    by_box, by_mask = (np.frombuffer(row[name], np.uint8).reshape(4, 10)[0] for name in ("box_matches", "mask_matches"))
    assert by_box.tolist() == [1] * 10
    assert by_mask.tolist() == [0] * 10
    assert row["severity"] == 2  # severity is that of masks


def test_collate_decodes_masks_of_objects_that_are_trained_on() -> None:
    true = [{"box": [0, 0, 9, 9], "crowd": True}, {"box": BOX, "label": 1}]
    samples = [sample(true, masks=[ellipse(SIZE, [0, 0, 9, 9]), ROUND]), sample([], masks=[])]
    _, (target, empty) = instance_segmentation.collate(samples, SETTINGS)
    assert target["masks"].dtype == torch.uint8
    np.testing.assert_array_equal(target["masks"], rle.decode(ROUND, *SIZE)[None])
    assert empty["masks"].shape == (0, *SIZE)


def test_answer_and_back() -> None:
    asked = Sample("x", np.zeros((30, 70, 3), np.uint8), label=0)
    given = detections_of([{"box": BOX, "label": 1, "score": 0.25}], masks=np.ones((1, 28, 28), np.float16))
    answered = json.loads(json.dumps(instance_segmentation.answer(asked, given, SETTINGS)))
    assert list(answered) == list(instance_segmentation.OUTPUT)
    (mask,) = answered["masks"]
    assert rle.area(mask.encode("ascii")) == 12 * 28
    back = instance_segmentation.prediction(asked, answered, SETTINGS)
    assert back.masks_in_pixels(30, 70) == given.masks_in_pixels(30, 70)
    assert back.take(np.array([0])).masks_in_pixels(30, 70) == given.masks_in_pixels(30, 70)
    nothing = detections_of([], masks=np.zeros((0, 28, 28), np.float16))
    assert instance_segmentation.answer(asked, nothing, SETTINGS)["masks"] == []


def test_pictures_and_figures() -> None:
    item = sample([{"box": BOX}], masks=[ROUND])
    given = detections_of([{"box": BOX, "score": 1}], masks=[ROUND])
    picture = instance_segmentation.draw(item, given, SETTINGS)
    assert picture[48, 48].argmax() == 1  # green inside
    assert not picture[150, 150].any()
    table = pa.Table.from_pylist([instance_segmentation.rows(item, given)])
    names = ("mask-precision-recall", "box-precision-recall")
    expected = [f"{name}{kind}" for name in names for kind in ("", "-by-class")]
    assert list(instance_segmentation.figures(table, SETTINGS)) == [*expected, "cost-of-errors"]
