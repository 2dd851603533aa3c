"""Keypoints are scored as pycocotools scores them, and what has none neither helps nor harms.

`data/coco_keypoints.json` holds images, detections and what pycocotools 2.0.11 made of them: things of two classes
with COCO's 17 points, a third of these not labelled and a fifth of the things without any, 12 % crowds, scores in
eighths and sixteenths (so that many are equal), an image without anything in it, and one with more than 20 detections
of a class. Made by `COCOeval(truth, truth.loadRes(found), "keypoints")`, then `evaluate(); accumulate(); summarize()`;
the area of a thing was that of its box, `AP[c]` is the mean of `eval["precision"][:, :, c, 0, 0]`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from pipeline.learners.base import Settings
from pipeline.learners.detector import Detections, Detector
from pipeline.metrics import oks
from pipeline.metrics.coco_ap import IGNORED, TRUE_POSITIVE
from pipeline.plots.figures import GREEN
from pipeline.sample import Facts, Sample
from pipeline.tasks import detection, keypoint_detection
from tests.helpers.detections import SIZE, detections_of, sample

GOLDEN = Path(__file__).parent / "data" / "coco_keypoints.json"
NAMES = ("top", "left", "right")
SETTINGS = Settings(("0", "1"), (), (1, 1), 3, 32, (0.5,) * 3, (0.25,) * 3, NAMES)
BOX = [20, 40, 60, 80]
#: in the box, all visible
POINTS = np.array([[[40, 41, 2], [22, 60, 2], [58, 70, 2]]], np.float32)


def true(keypoints: NDArray[np.float32] = POINTS, **marks: Any) -> Sample:
    return dataclasses.replace(sample([{"box": BOX, **marks}]), keypoints=keypoints)


def answered(keypoints: NDArray[Any], score: float = 1.0) -> Detections:
    """One detection with keypoints N×K×3 in pixels."""
    keypoints = np.concatenate([keypoints[..., :2] / SIZE[0], np.full((*keypoints.shape[:2], 1), 0.25)], axis=2)
    return detections_of([{"box": BOX, "score": score}], keypoints=keypoints)


def match(given: Sample, prediction: Detections) -> tuple[list[int], float]:
    row = keypoint_detection.rows(given, prediction)
    return np.frombuffer(row["keypoint_matches"], np.uint8).reshape(-1, 4, 10)[0, 0].tolist(), row["severity"]


def test_scores_are_those_of_pycocotools() -> None:
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    rows = []
    for image in content["images"]:
        height, width = image["size"]
        true_points = np.array([item["points"] for item in image["true"]], np.float32).reshape(-1, 17, 3)
        detected = np.array([item["points"] for item in image["found"]], np.float64).reshape(-1, 17, 2)
        keypoints = np.concatenate([detected / [width, height], np.ones((len(detected), 17, 1))], axis=2)
        given = dataclasses.replace(sample(image["true"], (height, width)), keypoints=true_points)
        rows.append(keypoint_detection.rows(given, detections_of(image["found"], (height, width), keypoints=keypoints)))
    table = pa.Table.from_pylist(rows)
    scores = keypoint_detection.scorer(table, SETTINGS)(np.ones(len(rows), np.int64))
    expected = {f"keypoint_{name}": value for name, value in content["scores"].items()}
    assert {name: scores[name] for name in expected} == pytest.approx(expected, rel=0, abs=1e-9)
    extra = {name for name in scores if name.startswith("keypoint_")} - set(expected)
    assert extra == {"keypoint_AR1", "keypoint_AR10"}
    assert scores["box_mAP"] == detection.scorer(table, SETTINGS)(np.ones(len(rows), np.int64))["box_mAP"]


def test_a_worked_case() -> None:
    """Of three keypoints one is 4 pixels off and one is not labelled: (e^(-16 / (2 · 1600 · 0.01)) + 1) / 2."""
    keypoints = POINTS.copy()
    keypoints[0, 2, 2] = 0
    moved = keypoints.copy()
    moved[0, 0, 0] += 4
    moved[0, 2, :2] = 99
    overlap = oks.similarity(
        moved[..., :2].astype(float), keypoints.astype(float), np.array([BOX], float), np.array([1600.0])
    )
    assert overlap[0, 0] == pytest.approx((np.exp(-0.5) + 1) / 2, abs=1e-12)
    matches = match(true(keypoints), answered(moved))[0]
    assert matches == [TRUE_POSITIVE] * 7 + [0] * 3  # from 0.50 to 0.80, of 0.803


def test_keypoints_are_matched_and_not_the_box() -> None:
    assert match(true(), answered(POINTS)) == ([TRUE_POSITIVE] * 10, 0)
    assert match(true(), answered(POINTS + np.float32(30))) == (
        [0] * 10,
        2,
    )  # the same box; one false positive, one missed


def test_objects_without_labelled_keypoints_are_ignored() -> None:
    nothing = true(np.zeros_like(POINTS))
    assert match(nothing, answered(POINTS)) == ([IGNORED] * 10, 0)
    row = keypoint_detection.rows(nothing, answered(POINTS))
    assert not any(row["keypoint_counted"])
    assert row["counted"][0]  # its box does
    hidden = POINTS.copy()
    hidden[..., 2] = 1
    assert match(true(hidden), answered(POINTS)) == ([TRUE_POSITIVE] * 10, 0)


def test_distances_are_scaled_by_the_area_of_the_stored_object() -> None:
    """The keypoints of an image that prepare scaled down are scaled too, so its similarities stay the same."""
    half = dataclasses.replace(true(), size=(2 * SIZE[0], 2 * SIZE[1]))
    moved = POINTS.copy()
    moved[0, :, 1] += 2
    assert match(half, answered(moved))[0] == match(true(), answered(moved))[0]


def test_collate_gives_the_keypoints_of_objects_that_are_trained_on() -> None:
    crowded = sample([{"box": [0, 0, 9, 9], "crowd": True}, {"box": BOX, "label": 1}])
    both = np.concatenate([np.zeros_like(POINTS), POINTS])
    empty = dataclasses.replace(sample([]), keypoints=np.zeros((0, 3, 3), np.float32))
    _, (target, nothing) = keypoint_detection.collate([dataclasses.replace(crowded, keypoints=both), empty], SETTINGS)
    assert target["keypoints"].dtype == torch.float32
    np.testing.assert_array_equal(target["keypoints"], POINTS)
    assert nothing["keypoints"].shape == (0, 3, 3)
    assert "keypoints" not in detection.collate([empty], SETTINGS)[1][0]
    asked = Sample("x", np.zeros((*SIZE, 3), np.uint8))
    assert "keypoints" not in keypoint_detection.collate([asked], SETTINGS)[1][0]


def test_keypoints_are_fractions_of_the_networks_input() -> None:
    class Network(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
            keypoints = torch.tensor([[[8.0, 16, 1], [0, 32, 1], [4, 4, 1]]])
            box = {
                "boxes": torch.tensor([[0.0, 0, 16, 32]]),
                "labels": torch.tensor([1]),
                "scores": torch.tensor([0.5]),
            }
            return [box | {"keypoints": keypoints, "keypoints_scores": torch.tensor([[3.0, -1, 2]])}]

    (detections,) = Detector(Network(), SETTINGS)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    np.testing.assert_array_equal(
        detections.keypoints_in_pixels(100, 200)[0], [[50, 50, 3], [0, 100, -1], [25, 12.5, 2]]
    )
    assert detections.take(np.array([0, 0])).keypoints_in_pixels(1, 1).shape == (2, 3, 3)


def test_answer_and_back() -> None:
    asked = Sample("x", np.zeros((*SIZE, 3), np.uint8), label=0)
    given = answered(POINTS)
    said = json.loads(json.dumps(keypoint_detection.answer(asked, given, SETTINGS)))
    assert list(said) == list(keypoint_detection.OUTPUT)
    assert said["keypoints"] == pytest.approx([40, 41, 0.25, 22, 60, 0.25, 58, 70, 0.25])
    back = keypoint_detection.prediction(asked, said, SETTINGS)
    np.testing.assert_allclose(back.keypoints_in_pixels(1, 1), given.keypoints_in_pixels(1, 1))
    of_version_0_1 = said | {"points": said.pop("keypoints")}
    back = keypoint_detection.prediction(asked, of_version_0_1, SETTINGS)
    np.testing.assert_allclose(back.keypoints_in_pixels(1, 1), given.keypoints_in_pixels(1, 1))
    none = detections_of([], keypoints=np.zeros((0, 3, 3)))
    empty = keypoint_detection.answer(asked, none, SETTINGS)
    assert empty["keypoints"] == []
    assert keypoint_detection.prediction(asked, empty, SETTINGS).keypoints_in_pixels(1, 1).shape == (0, 3, 3)


def test_pictures_and_figures() -> None:
    picture = keypoint_detection.draw(true(), answered(POINTS), SETTINGS)
    x, y = (round(float(value) * 1.6) for value in POINTS[0, 1, :2])
    assert tuple(picture[y, x + 3]) == GREEN  # a dot, with the true one in its middle
    assert tuple(picture[y, x]) == (255, 214, 0)
    asked = Sample("x", np.zeros((*SIZE, 3), np.uint8), label=0)
    assert (keypoint_detection.draw(asked, answered(POINTS), SETTINGS) == GREEN).all(axis=2).any()
    table = pa.Table.from_pylist([keypoint_detection.rows(true(), answered(POINTS))])
    names = ("keypoint-precision-recall", "box-precision-recall")
    expected = [f"{name}{by}" for name in names for by in ("", "-by-class")]
    assert list(keypoint_detection.figures(table, SETTINGS)) == [*expected, "cost-of-errors"]


def test_objects_without_a_labelled_keypoint_teach_nothing() -> None:
    facts = Facts("x", ("0",), (), {"train": 2, "val": 1, "test": 1}, (1,), (), {}, {}, keypoints=NAMES)
    unlabelled = true(POINTS * np.array([1, 1, 0], np.float32))
    assert keypoint_detection.missing(facts, [unlabelled]) == "no object with keypoints"
    assert keypoint_detection.missing(facts, [unlabelled, true()]) is None
    assert detection.missing(facts, [unlabelled]) is None  # its box can be learnt
