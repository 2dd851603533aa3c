"""Box arithmetic against cases worked by hand."""

import numpy as np

from pipeline.geometry import boxes

SQUARE = np.array([[0, 0, 10, 10]], np.float32)


def test_overlap() -> None:
    others = np.array([[0, 0, 10, 10], [5, 5, 15, 15], [10, 0, 20, 10], [2, 2, 4, 7], [0, 0, 40, 40]], np.float32)
    found = boxes.iou(SQUARE, others)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[1, 25 / 175, 0, 0.1, 100 / 1600]])
    np.testing.assert_array_equal(boxes.iou(others, SQUARE), found.T)


def test_a_crowd_takes_what_lies_in_it() -> None:
    others = np.array([[0, 0, 40, 40], [5, 0, 40, 40], [0, 0, 40, 40]], np.float32)
    np.testing.assert_array_equal(boxes.iou(SQUARE, others, [True, True, False]), [[1, 0.5, 1 / 16]])


def test_nothing_overlaps_nothing() -> None:
    none = np.zeros((0, 4), np.float32)
    assert boxes.iou(none, SQUARE).shape == (0, 1)
    assert boxes.iou(SQUARE, none, []).shape == (1, 0)
    flat = np.array([[3, 3, 3, 9]], np.float32)
    np.testing.assert_array_equal(boxes.iou(flat, flat), [[0]])


def test_area_clip_and_scale() -> None:
    some = np.array([[-5, 2, 8, 30], [1, 1, 3, 4], [4, 4, 2, 2]], np.float32)
    np.testing.assert_array_equal(boxes.area(some), [13 * 28, 6, 0])
    clipped = boxes.clip(some, 20, 6)
    np.testing.assert_array_equal(clipped, [[0, 2, 6, 20], [1, 1, 3, 4], [4, 4, 2, 2]])
    scaled = boxes.scale(some, 2, 0.5)
    np.testing.assert_array_equal(scaled[:2], [[-2.5, 4, 4, 60], [0.5, 2, 1.5, 8]])
    assert clipped.dtype == scaled.dtype == np.float32
