"""What a task predicts of a network's input comes back in the image's own pixels: there and back, for every `fit`."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline import plugins
from pipeline.augment.fit import Fit, restore
from pipeline.geometry import rle
from pipeline.geometry.placement import Placement
from pipeline.learners.detector import Detections
from pipeline.learners.localizer import ClassMaps
from pipeline.learners.segmenter import LabelMap
from pipeline.sample import IGNORE, Sample
from tests.helpers import strategies

TASKS = [task for task in plugins.names("tasks") if plugins.constant("tasks", task, "GIVES") is None]
MODES = ["stretch", "letterbox"]
#: pixels of the image: what float32 annotations of an image of a few hundred pixels can differ by
EXACT = 1e-3
shapes = st.tuples(st.integers(1, 400), st.integers(1, 400))
sides = st.integers(8, 300)
modes = st.sampled_from(MODES)


def task(name: str) -> Any:
    return plugins.load("tasks", name)


def objects(height: int, width: int, seed: int) -> Sample:
    """Boxes anywhere in the image, each with a keypoint in its corners."""
    corners = np.sort(np.random.default_rng(seed).uniform(0, 1, (5, 2, 2)), axis=1) * [width, height]
    boxes = corners.reshape(-1, 4).astype(np.float32)
    keypoints = np.concatenate([boxes.reshape(-1, 2, 2), np.full((5, 2, 1), 2)], axis=2).astype(np.float32)
    pixels = np.zeros((height, width, 3), np.uint8)
    return Sample("x", pixels, boxes=boxes, labels=np.arange(5), keypoints=keypoints)


def perfect(item: Sample, side: int) -> Detections:
    """The annotations of an input, as a detector gives them; masks fill the boxes."""
    assert item.boxes is not None
    assert item.labels is not None
    assert item.keypoints is not None
    count = len(item.boxes)
    keypoints = item.keypoints.astype(np.float64) / [side, side, 1]
    return Detections(
        item.boxes.astype(np.float64) / side, item.labels, np.ones(count), np.ones((count, 4, 4), np.float16), keypoints
    )


@given(shapes, sides, modes, st.integers(0, 100))
@strategies.few
def test_boxes_keypoints_and_masks_come_back(shape: tuple[int, int], side: int, mode: str, seed: int) -> None:
    height, width = shape
    before = objects(height, width, seed)
    assert before.boxes is not None
    assert before.keypoints is not None
    inner, placement = Fit(side, mode).forward(before)
    for name in ("detection", "instance_segmentation", "keypoint_detection"):
        back = restore(task(name), perfect(inner, side), placement)
        assert back.labels.tolist() == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(back.boxes_in_pixels(height, width), before.boxes, atol=EXACT)
        np.testing.assert_allclose(back.keypoints_in_pixels(height, width), before.keypoints, atol=EXACT)
        for mask, box in zip(back.masks_in_pixels(height, width), back.boxes_in_pixels(height, width), strict=True):
            rows, columns = (np.arange(length, dtype=np.float64) + 0.5 for length in (height, width))
            inside = np.outer((rows > box[1]) & (rows < box[3]), (columns > box[0]) & (columns < box[2]))
            differing = rle.decode(mask, height, width) != inside
            near = _near(rows, box[1::2])[:, None] | _near(columns, box[::2])
            assert not (differing & ~near).any()


def _near(centres: NDArray[Any], edges: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(centres[:, None] - edges) < EXACT).any(axis=1))


@given(
    st.tuples(st.integers(40, 300), st.integers(40, 300)),
    st.sampled_from([32, 100, 256]),
    modes,
    st.sampled_from([0, 1]),
)
@strategies.few
def test_a_label_map_comes_back_with_its_borders_where_they_were(
    shape: tuple[int, int], side: int, mode: str, axis: int
) -> None:
    """Logits whose classes meet in a line through the image; interpolated, they meet in that very line."""
    placement = Fit(side, mode).placement(*shape)
    line = 0.4 * shape[axis]
    slope = np.expand_dims(_centres(placement, side, axis) - line, 1 - axis)
    logits = np.stack([np.zeros((side, side)), np.broadcast_to(slope, (side, side))]).astype(np.float32)
    predicted = LabelMap(np.argmax(logits, axis=0).astype(np.uint8), 2, logits)
    back = restore(task("segmentation"), predicted, placement)
    assert back.ids.shape == shape
    assert back.logits is None
    beyond = np.expand_dims(np.arange(shape[axis]) + 0.5 - line, 1 - axis)
    sure = np.broadcast_to(np.abs(beyond) > EXACT, shape)
    np.testing.assert_array_equal(back.ids[sure], np.broadcast_to(beyond > 0, shape)[sure])


def _centres(placement: Placement, cells: int, axis: int) -> NDArray[np.float64]:
    """Where the centres of the input's cells lie in the image, along y (axis 0) or x."""
    positions = (np.arange(cells) + 0.5) / cells
    points = placement.to_fractions(np.stack([positions, positions], axis=1))
    return np.asarray(points[:, 1 - axis] * (placement.height, placement.width)[axis])


@given(st.tuples(st.integers(40, 300), st.integers(40, 300)), st.sampled_from([8, 14, 32]), modes)
@strategies.few
def test_class_maps_come_back(shape: tuple[int, int], cells: int, mode: str) -> None:
    """A map that rises evenly over the image does so when it is back, but for the outermost cells."""
    placement = Fit(64, mode).placement(*shape)
    ramp = np.broadcast_to(_centres(placement, cells, 1), (1, cells, cells)).astype(np.float32)
    back = restore(task("localization"), ClassMaps(np.ones(1, np.float32), ramp), placement)
    heat = back.heat(0, *shape)
    centres = np.arange(shape[1]) + 0.5
    cell = shape[1] / back.maps.shape[2]
    inside = (centres > 1.5 * cell) & (centres < shape[1] - 1.5 * cell)
    np.testing.assert_allclose(heat[:, inside], np.broadcast_to(centres[inside], heat[:, inside].shape), atol=0.5)


def test_stretched_predictions_are_what_they_were() -> None:
    placement = Fit(64).placement(30, 70)
    detections = perfect(objects(64, 64, 0), 64)
    maps = ClassMaps(np.ones(1, np.float32), np.ones((1, 7, 7), np.float32))
    ids = LabelMap(np.zeros((64, 64), np.uint8), 2)
    for name, prediction in (("detection", detections), ("localization", maps), ("segmentation", ids)):
        assert restore(task(name), prediction, placement) is prediction


def test_what_is_found_in_the_padding_is_gone_and_the_rest_clipped() -> None:
    placement = Fit(100, "letterbox").placement(50, 100)  # rows 25 to 75
    boxes = np.array([[10, 0, 30, 20], [10, 10, 30, 45], [10, 80, 30, 99], [0, 25, 100, 75]]) / 100
    masks = np.ones((4, 2, 2), np.float16)
    found = Detections(boxes, np.arange(4), np.array([0.9, 0.8, 0.7, 0.6]), masks)
    back = restore(task("instance_segmentation"), found, placement)
    assert back.labels.tolist() == [1, 3]
    assert back.scores.tolist() == [0.8, 0.6]
    np.testing.assert_allclose(back.boxes_in_pixels(50, 100), [[10, 0, 30, 20], [0, 0, 100, 50]], atol=1e-9)
    assert [rle.area(mask) for mask in back.masks_in_pixels(50, 100)] == [20 * 20, 50 * 100]


def test_a_mask_that_reaches_into_the_padding_keeps_its_shape() -> None:
    """Its box is clipped, and the mask is not squeezed into what is left of it."""
    placement = Fit(100, "letterbox").placement(50, 100)
    lower = np.zeros((1, 20, 20), np.float16)
    lower[:, 10:] = 1  # the lower half of rows 5 to 45, which is rows 0 to 20 of the image
    found = Detections(np.array([[0, 5, 100, 45]]) / 100, np.zeros(1, np.int64), np.ones(1), lower)
    (mask,) = restore(task("instance_segmentation"), found, placement).masks_in_pixels(50, 100)
    rows = np.flatnonzero(rle.decode(mask, 50, 100).any(axis=1))
    assert (rows[0], rows[-1]) == (0, 19)
    upper = dataclasses.replace(found, masks=np.ascontiguousarray(lower[:, ::-1]))
    (mask,) = restore(task("instance_segmentation"), upper, placement).masks_in_pixels(50, 100)
    assert rle.area(mask) == 0


def test_padding_is_in_no_confusion_matrix() -> None:
    """An image of one class, of which the model says so everywhere but in the padding."""
    item = Sample("x", np.zeros((20, 60, 3), np.uint8), semantic=np.zeros((20, 60), np.uint8))
    inner, placement = Fit(30, "letterbox").forward(item)
    assert inner.semantic is not None
    padding = inner.semantic == IGNORE
    assert padding.mean() == pytest.approx(2 / 3)
    logits = np.stack([~padding, padding]).astype(np.float32)
    for given_logits in (logits, None):
        predicted = LabelMap(padding.astype(np.uint8), 2, given_logits)
        row = task("segmentation").rows(item, restore(task("segmentation"), predicted, placement))
        assert row["confusion"] == [1200, 0, 0, 0]


def test_logits_give_finer_borders_than_labels() -> None:
    """A disc seen at an eighth of its size: its border is that of a disc, not of blocks."""
    rows, columns = np.mgrid[:8, :8] + 0.5
    inside = (2.6 - np.hypot(rows - 4, columns - 4)).astype(np.float32)
    predicted = LabelMap((inside > 0).astype(np.uint8), 2, np.stack([np.zeros_like(inside), inside]))
    placement = Fit(8).placement(64, 64)
    rows, columns = np.mgrid[:64, :64] + 0.5
    truth = np.hypot(rows - 32, columns - 32) < 2.6 * 8
    by_logits = restore(task("segmentation"), predicted, placement).ids == 1
    by_labels = predicted.scaled(64, 64) == 1
    assert (by_logits != truth).mean() < 0.4 * (by_labels != truth).mean()


def test_every_task_that_answers_in_pixels_can_restore() -> None:
    assert {"detection", "segmentation", "localization"} <= set(TASKS)
    for name in TASKS:
        assert hasattr(task(name), "restore"), name
