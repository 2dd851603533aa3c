"""Annotations that do not fit are refused with their value; those that do pass unchanged."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.geometry import rle
from pipeline.prepare.entries import ingest
from pipeline.prepare.findings import Findings
from pipeline.prepare.loading import Item
from pipeline.prepare.splits import hash_number
from pipeline.prepare.validate import misfits
from pipeline.sample import Classes, Fault, Sample
from pipeline.shards import Shards

CLASSES = Classes(("a", "b"), ("ground", "tree", "sky"), ("head", "tail"))
FULL = rle.encode(np.ones((20, 40), np.bool_))
GOOD = Sample(
    id="1",
    image=np.zeros((20, 40, 3), np.uint8),
    label=1,
    boxes=np.array([[0, 0, 40, 20], [1, 2, 3, 4]], np.float32),
    labels=np.array([0, 1]),
    masks=[FULL, FULL],
    semantic=np.full((20, 40), 2, np.uint8),
    keypoints=np.array([[[40, 20, 2], [99, 99, 0]], [[1, 2, 1], [0, 0, 2]]], np.float32),
)


def boxes(*row: float) -> dict[str, Any]:
    return {"boxes": np.array([row, (1, 2, 3, 4)], np.float32)}


def point(*values: float) -> dict[str, Any]:
    return {"keypoints": np.array([[(1, 2, 1), (0, 0, 0)], [(4, 4, 2), values]], np.float32)}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nan": (boxes(0, float("nan"), 3, 4), "not finite"),
    "infinite": (boxes(0, 0, float("inf"), 4), "not finite"),
    "inverted": (boxes(5, 2, 3, 4), "corners swapped"),
    "no area": (boxes(3, 2, 3, 4), r"box 0 \[3, 2, 3, 4\] has no area"),
    "outside": (boxes(41, 2, 50, 4), "outside the 40×20 image"),
    "shares": ({"boxes": np.array([[0, 0, 0.5, 1], [0, 0, 1, 1]], np.float32)}, "fractions of the image"),
    "shape": ({"boxes": np.zeros((2, 3), np.float32)}, "not N×4"),
    "count": ({"labels": np.array([0])}, "2 boxes, 1 labels"),
    "unlabelled": ({"labels": None}, "without class labels"),
    "box class": ({"labels": np.array([0, 2])}, r"box 1: class 2 is not in 0\.\.1"),
    "label": ({"label": 2}, "label 2"),
    "ignored label": ({"label": -100}, "label -100"),
    "nan label": ({"label": float("nan")}, "label nan"),
    "split": ({"split": "training"}, "'training'"),
    "thin": ({"image": np.zeros((1, 40, 3), np.uint8)}, "40×1 pixels"),
    "float": ({"image": np.zeros((20, 40, 3))}, "float64"),
    "map size": ({"semantic": np.zeros((10, 40), np.uint8)}, "label map of 40×10 uint8"),
    "map colours": ({"semantic": np.zeros((20, 40, 3), np.uint8)}, "40×20×3"),
    "map id": ({"semantic": np.full((20, 40), 9, np.uint8)}, "800 pixels of id 9"),
    "size": ({"size": (40, 20)}, "annotated for 20×40 pixels, but the upright image has 40×20: the camera rotated it"),
    "damaged mask": ({"masks": [b"13P", FULL]}, "mask 0: the RLE ends within"),
    "mask size": ({"masks": [FULL, b"132"]}, "mask 1: the runs cover 6 pixels, not 40×20"),
    "empty mask": ({"masks": [FULL, rle.encode(np.zeros((20, 40), np.uint8))]}, "mask 1 covers no pixel"),
    "mask count": ({"masks": [FULL]}, "2 labels, 1 masks"),
    "point outside": (point(41, 2, 1), r"box 1: keypoint tail \[41, 2, 1\] lies outside the 40×20 image"),
    "point nan": (point(float("nan"), 2, 0), "not finite"),
    "visibility": (point(1, 2, 3), "visibility other than 0, 1 and 2"),
    "visibility nan": (point(1, 2, float("nan")), "visibility other than 0, 1 and 2"),
    "point shape": ({"keypoints": np.zeros((2, 3, 3), np.float32)}, r"\(2, 3, 3\), not N×2×3"),
    "point count": ({"keypoints": np.zeros((1, 2, 3), np.float32)}, "2 labels, 2 masks, 1 keypoints"),
    "void": ({"semantic": np.full((20, 40), 255, np.uint8)}, "ignore"),
}


@pytest.mark.parametrize("name", BAD)
def test_misfits_are_reported(name: str) -> None:
    change, reason = BAD[name]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError("\n".join(misfits(replace(GOOD, **change), CLASSES)))


def test_the_good_pass() -> None:
    assert list(misfits(GOOD, CLASSES)) == []
    nothing = replace(GOOD, boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64), masks=[])
    nothing = replace(nothing, keypoints=np.zeros((0, 2, 3), np.float32))
    assert list(misfits(nothing, CLASSES)) == []


def test_annotations_follow_the_image(tmp_path: Path) -> None:
    dot = np.zeros((20, 40), np.bool_)
    dot[0, 0] = True
    speck = rle.encode(dot)

    def items() -> Iterator[Item]:
        yield CLASSES
        corners = np.array([[-4, 0, 20, 10], [8, 4, 16, 12]], np.float32)
        yield replace(GOOD, boxes=corners, masks=[FULL, speck])
        yield replace(GOOD, group="other")

    findings = Findings(None)
    _, (entry,) = ingest(items(), tmp_path / "spool", 10, findings)
    sample = Shards([tmp_path / "spool"])[entry.row]
    assert sample.boxes is not None
    assert sample.semantic is not None
    assert sample.boxes.tolist() == [[0, 0, 5, 2.5], [2, 1, 4, 3]]
    assert sample.keypoints is not None
    assert sample.keypoints.tolist() == [[[10, 5, 2], [24.75, 24.75, 0]], [[0.25, 0.5, 1], [0, 0, 2]]]
    assert (sample.pixels.shape, sample.semantic.shape, sample.size) == ((5, 10, 3), (5, 10), (20, 40))
    assert sample.masks is not None
    assert [rle.area(mask, (5, 10)) for mask in sample.masks] == [50, 0]
    assert "1 masks are empty at max_side 10" in findings.warnings[1].reason
    assert (entry.classes, entry.semantic_ids, entry.group) == ((0, 1), (2,), entry.pixels)
    assert "1 boxes reach outside" in findings.warnings[0].reason
    assert "its id '1' is taken by 1" in findings.faults[0].reason


def test_of_equal_objects_one_is_kept(tmp_path: Path) -> None:
    """Same class, same corners and same mask: a copy can never be detected."""
    corners = np.array([[0, 0, 40, 20], [1, 2, 3, 4], [0, 0, 40, 20], [0, 0, 40, 20], [0, 0, 40, 20]], np.float32)
    dot = np.zeros((20, 40), np.bool_)
    dot[0, 0] = True
    copied = Sample(
        "1",
        GOOD.pixels,
        boxes=corners,
        labels=np.array([0, 0, 0, 1, 0]),
        masks=[FULL, FULL, FULL, FULL, rle.encode(dot)],
    )
    findings = Findings("raw")
    others = [replace(copied, id="2", group="other"), replace(GOOD, id="3", group="third")]
    items: list[Classes | Sample | Fault] = [CLASSES, copied, *others]
    _, entries = ingest(iter(items), tmp_path / "spool", 64, findings)
    first, _, third = Shards([tmp_path / "spool"])
    assert len(entries) == 3
    assert first.boxes is not None
    assert first.labels is not None
    assert first.masks is not None
    assert first.boxes.tolist() == corners[[0, 1, 3, 4]].tolist()
    assert first.labels.tolist() == [0, 0, 1, 0]
    assert len(first.masks) == 4
    assert third.boxes is not None
    assert len(third.boxes) == 2
    (warning,) = findings.warnings
    assert warning.where == "raw"
    assert "2 objects" in warning.reason
    assert "in 2 images, such as 1" in warning.reason


def test_draws_are_even_and_fixed() -> None:
    values = np.array([hash_number(0, str(number)) for number in range(4000)])
    assert abs(values.mean() - 0.5) < 0.02
    assert abs((values < 0.2).mean() - 0.2) < 0.02
    assert hash_number(0, "a") == hash_number(0, "a") != hash_number(1, "a")
