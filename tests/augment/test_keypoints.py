"""Keypoints stay where they are in what is seen: moved with it, swapped by a mirror, hidden by what is pasted."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.augment import annotated
from pipeline.augment.policy import Policy
from pipeline.augment.warp import mirrored
from pipeline.sample import Facts, Sample
from tests.helpers.marks import NUMBER, SIDE, SQUARE, marked

LEFT, TOP, RIGHT, BOTTOM = SQUARE
NAMES = ("upper_left", "upper_right", "lower_right", "lower_left")
CORNERS = np.array([[[LEFT, TOP, 2], [RIGHT, TOP, 1], [RIGHT, BOTTOM, 2], [LEFT, BOTTOM, 2]]], np.float32)


def pointed(keypoints: NDArray[Any] = CORNERS, **changes: Any) -> Sample:
    return dataclasses.replace(marked(**changes), keypoints=keypoints.astype(np.float32))


def changed(transform: str, seed: int, sample: Sample, other: Sample | None = None, **options: Any) -> Any:
    """The changed sample; not None are its points."""
    result = Policy([{transform: options}], keypoints=NAMES)(sample, seed, lambda _: other or sample)
    assert result.keypoints is not None
    assert result.keypoints.dtype == np.float32
    return result


@pytest.mark.parametrize("name", ["shift", "rotation", "scale", "shear", "perspective", "crop", "horizontal_flip"])
def test_keypoints_at_a_boxs_corners_go_where_the_box_goes(name: str) -> None:
    for seed in range(10):
        result = changed(name, seed, pointed(), p=1.0)
        assert result.boxes is not None
        if not len(result.boxes):
            continue
        (keypoints,) = result.keypoints
        seen = keypoints[keypoints[:, 2] > 0, :2]
        assert len(result.boxes) == 1
        if len(seen) == 4:
            np.testing.assert_allclose([*seen.min(axis=0), *seen.max(axis=0)], result.boxes[0], atol=1e-3)
            assert sorted(keypoints[:, 2]) == [1, 2, 2, 2]


def test_a_keypoint_outside_the_image_is_not_labelled() -> None:
    far = CORNERS.copy()
    far[0, 0] = 1, 24, 2
    gone = [changed("shift", seed, pointed(far), limit=0.2, p=1.0).keypoints[0, 0] for seed in range(20)]
    assert {tuple(point) for point in gone if not point[2]} == {(0, 0, 0)}
    assert 3 < sum(point[2] == 0 for point in gone) < 17


def test_one_that_was_not_labelled_stays_so() -> None:
    keypoints = CORNERS.copy()
    keypoints[0, 3] = 0
    assert changed("shift", 3, pointed(keypoints), p=1.0).keypoints[0, 3].tolist() == [0, 0, 0]


def test_a_mirror_swaps_left_and_right_and_a_turn_does_not() -> None:
    (keypoints,) = changed("horizontal_flip", 0, pointed(), p=1.0).keypoints
    expected = [(SIDE - RIGHT, TOP, 1), (SIDE - LEFT, TOP, 2), (SIDE - LEFT, BOTTOM, 2), (SIDE - RIGHT, BOTTOM, 2)]
    assert keypoints.tolist() == [list(point) for point in expected]  # upper_left is left in what is seen
    back = Policy([{"horizontal_flip": {"p": 1.0}}] * 2, keypoints=NAMES)(pointed(), 0)
    np.testing.assert_array_equal(back.keypoints, CORNERS)
    turned = Policy([{"horizontal_flip": {"p": 1.0}}, {"vertical_flip": {"p": 1.0}}], keypoints=NAMES)(pointed(), 0)
    assert turned.keypoints is not None
    assert turned.keypoints[0, 0].tolist() == [SIDE - LEFT, SIDE - TOP, 2]


def test_which_names_are_pairs() -> None:
    assert mirrored(NAMES) == [1, 0, 3, 2]
    assert mirrored(("nose", "left_eye", "right_eye", "left_ear")) == [0, 2, 1, 3]  # a left one alone stays
    assert mirrored(()) == []


@pytest.mark.parametrize("with_masks", [False, True])
def test_keypoints_bend_with_the_pixels(with_masks: bool) -> None:
    """Of two squares of 3 pixels, each in its own place, the points are in the middle wherever they come to lie."""
    ahead = np.array([[20.5, 20.5], [30.5, 24.5]])
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for number, (x, y) in enumerate(ahead.astype(int)):
        image[y - 1 : y + 2, x - 1 : x + 2, number] = 255
    keypoints = np.concatenate([ahead, [[2], [1]]], axis=1)[None]
    sample = pointed(keypoints, square=(10, 10, 40, 40), with_masks=with_masks)
    far = 0.0
    for seed in range(10):
        result = changed("elastic", seed, dataclasses.replace(sample, image=image), std=2.0, p=1.0)
        for number, (x, y, visibility) in enumerate(result.keypoints[0]):
            rows, columns = np.nonzero(result.pixels[..., number] > 127)
            assert abs(columns.mean() + 0.5 - x) < 0.6
            assert abs(rows.mean() + 0.5 - y) < 0.6
            assert visibility == 2 - number
            far = max(far, abs(x - ahead[number, 0]))
    assert far > 1.5


def test_keypoints_are_of_the_objects_that_are_left() -> None:
    boxes = np.array([[0, 0, 4, 4], [20, 20, 30, 30]], np.float32)
    keypoints = np.array([[[2, 2, 2]], [[25, 25, 2]]], np.float32)
    two = Sample("x", marked().pixels, boxes=boxes, labels=np.array([5, 6]), keypoints=keypoints)
    for name in ("shift", "elastic"):
        strong: dict[str, Any] = {"limit": 0.4} if name == "shift" else {"std": 12.0}
        counts = set()
        for seed in range(20):
            result = changed(name, seed, two, p=1.0, **strong)
            assert result.labels is not None
            assert len(result.keypoints) == len(result.labels)
            counts.add(len(result.keypoints))
            if result.labels.tolist() == [6] and result.keypoints[0, 0, 2]:
                left, top, right, bottom = result.boxes[0] if result.boxes is not None else (0, 0, 0, 0)
                assert left <= result.keypoints[0, 0, 0] <= right
                assert top <= result.keypoints[0, 0, 1] <= bottom
        assert {1, 2} <= counts


@pytest.mark.parametrize("with_masks", [False, True])
def test_pasted_objects_bring_their_keypoints_and_hide_those_that_they_cover(with_masks: bool) -> None:
    first, second = marked((4, 4, 20, 20), with_masks=with_masks), marked((14, 4, 30, 20), with_masks=with_masks)
    below = np.array([[[5, 5, 2], [15, 5, 2], [16, 6, 1], [0, 0, 0]]], np.float32)
    above = np.array([[[15, 5, 2], [29, 19, 2], [0, 0, 0], [15, 6, 1]]], np.float32)
    first, second = dataclasses.replace(first, keypoints=below), dataclasses.replace(second, keypoints=above)
    result = changed("overlay", 0, first, second, fraction=1.0, p=1.0)
    assert result.keypoints[0].tolist() == [[5, 5, 2], [15, 5, 1], [16, 6, 1], [0, 0, 0]]
    np.testing.assert_array_equal(result.keypoints[1], above[0])


def test_without_objects_there_are_no_keypoints_but_as_many_names() -> None:
    none = dataclasses.replace(
        marked(),
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        crowd=None,
        difficult=None,
        keypoints=np.zeros((0, 4, 3), np.float32),
    )
    for name in ("shift", "horizontal_flip", "elastic", "overlay"):
        assert changed(name, 0, none, p=1.0).keypoints.shape == (0, 4, 3)


def test_the_sheet_shows_keypoints_and_rings_where_they_are_hidden() -> None:
    facts = Facts("x", ("a",) * (NUMBER + 1), (), {}, (), (), {}, {})
    keypoints = np.array([[[10, 10, 2], [30, 10, 1], [10, 30, 0]]], np.float32)
    bare = dataclasses.replace(pointed(keypoints), boxes=None, masks=None, semantic=None)
    drawn = (annotated.render(bare, facts) == annotated.color(NUMBER)).all(axis=2)
    scale = annotated.SIDE / SIDE
    at = [tuple(round(float(value) * scale) for value in point[:2]) for point in keypoints[0]]
    assert [bool(drawn[y, x]) for x, y in at] == [True, False, False]
    assert [bool(drawn[y, x - 4 : x + 5].any()) for x, y in at] == [True, True, False]
