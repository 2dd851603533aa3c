"""Copy-paste: what is pasted is the other image's, and what it covers is annotated no longer."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from pipeline import params, plugins
from pipeline.augment.policy import Policy
from pipeline.errors import UserError
from pipeline.geometry import rle
from pipeline.sample import Facts, Sample
from pipeline.train import checks
from tests.helpers.marks import SIDE, marked

ALWAYS: dict[str, Any] = {"fraction": 1.0, "p": 1.0}


def pasted(first: Sample, second: Sample, seed: int = 0, **options: Any) -> Any:
    return Policy([{"copy_paste": {**ALWAYS, **options}}])(first, seed, lambda _: second)


def second(*squares: tuple[int, int, int, int]) -> Sample:
    """An image of other gray values with masked objects of class 2, 3, …"""
    each = [marked(square, with_masks=True) for square in squares]
    masks = [mask for sample in each for mask in sample.masks or ()]
    inside = np.any([rle.decode(mask, SIDE, SIDE) for mask in masks], axis=0)
    return Sample(
        "second",
        np.where(inside[..., None], 180, 100).repeat(3, axis=2).astype(np.uint8),
        boxes=np.array(squares, np.float32),
        labels=np.arange(2, 2 + len(squares)),
        masks=masks,
        semantic=inside.astype(np.uint8) * 9,
        weight=np.ones((SIDE, SIDE), np.float32),
    )


def decoded(sample: Sample) -> list[Any]:
    return [rle.decode(mask, SIDE, SIDE).astype(bool) for mask in sample.masks or ()]


def test_unscaled_the_pasted_pixels_are_equal_and_all_others_stay() -> None:
    first, other = marked((4, 4, 20, 20), with_masks=True), second((14, 4, 30, 20), (34, 34, 44, 40))
    result = pasted(first, other, scale=[1, 1])
    assert first.semantic is not None
    below, *above = decoded(result)
    region = np.any(above, axis=0)
    np.testing.assert_array_equal(region, other.semantic != 0)
    np.testing.assert_array_equal(result.pixels[region], other.pixels[region])
    np.testing.assert_array_equal(result.pixels[~region], first.pixels[~region])
    np.testing.assert_array_equal(result.semantic, np.where(region, 9, first.semantic))
    assert not (below & region).any()
    assert result.boxes.tolist() == [[4, 4, 14, 20], [14, 4, 30, 20], [34, 34, 44, 40]]
    assert result.labels.tolist() == [7, 2, 3]
    assert result.crowd.tolist() == [True, False, False], "objects of an image without crowds are none"


def test_an_object_that_is_covered_vanishes() -> None:
    result = pasted(marked((10, 10, 16, 16), with_masks=True), second((4, 4, 30, 30)), scale=[1, 1])
    assert result.boxes.tolist() == [[4, 4, 30, 30]]
    assert result.labels.tolist() == [2]
    assert len(result.masks) == len(result.crowd) == 1


def test_masks_are_disjoint_boxes_are_theirs_and_pixels_are_of_their_image() -> None:
    first, other, sizes = marked(with_masks=True), second((8, 8, 24, 24), (28, 10, 40, 34)), []
    for seed in range(40):
        result = pasted(first, other, seed, scale=[0.5, 1.5])
        masks = decoded(result)
        assert np.sum(masks, axis=0).max() <= 1
        for mask, box, label in zip(masks, result.boxes, result.labels.tolist(), strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert abs(np.median(result.pixels[mask]) - (220 if label == 7 else 180)) <= 1
            if label == 2:
                sizes.append(int(columns[-1] + 1 - columns[0]))
        untouched = ~np.any(masks, axis=0) & (first.semantic == 0)
        np.testing.assert_array_equal(result.pixels[untouched], first.pixels[untouched])
    assert min(sizes) <= 10
    assert max(sizes) >= 20  # of 16 pixels


def test_each_object_is_pasted_with_its_own_probability() -> None:
    first, other = marked((0, 0, 4, 4), with_masks=True), second((8, 8, 24, 24), (28, 10, 40, 34))
    seen = {tuple(pasted(first, other, seed, scale=[1, 1], fraction=0.5).labels.tolist()) for seed in range(40)}
    assert seen == {(7,), (7, 2), (7, 3), (7, 2, 3)}
    assert pasted(first, other, 3).pixels.tobytes() == pasted(first, other, 3).pixels.tobytes()


def test_keypoints_come_along_and_are_hidden_where_they_are_covered() -> None:
    first = dataclasses.replace(
        marked((4, 4, 20, 20), with_masks=True), keypoints=np.array([[[5, 5, 2], [15, 5, 2]]], np.float32)
    )
    other = dataclasses.replace(second((14, 4, 30, 20)), keypoints=np.array([[[15, 5, 2], [29, 19, 1]]], np.float32))
    result = pasted(first, other, scale=[1, 1])
    assert result.keypoints.tolist() == [[[5, 5, 2], [15, 5, 1]], [[15, 5, 2], [29, 19, 1]]]


@pytest.mark.parametrize("missing", ["first", "second"])
def test_without_masks_it_is_refused_by_the_images_name(missing: str) -> None:
    samples = {"first": marked(with_masks=True, name="first"), "second": second((8, 8, 24, 24))}
    samples[missing] = dataclasses.replace(samples[missing], masks=None)
    with pytest.raises(UserError, match=f"copy_paste .*{missing} has none.*overlay"):
        pasted(samples["first"], samples["second"])


def test_a_dataset_without_masks_is_refused_before_training() -> None:
    job = params.Job(task="detection", architecture="faster_rcnn", dataset="boxed", augmentation="paste")
    policy = params.Policy(online=[{"copy_paste": {}}])
    fields = ("boxes", "labels", "masks")
    checks.transforms("a", job, policy, Facts("x", ("a",), (), {}, (), fields, {}, {}))
    with pytest.raises(UserError, match=r"jobs\.a\.augmentation: copy_paste, of paste, needs masks, which boxed lacks"):
        checks.transforms("a", job, policy, Facts("x", ("a",), (), {}, (), fields[:2], {}, {}))


@pytest.mark.parametrize("name", ["copy_paste", "mosaic"])
def test_tasks_of_one_label_an_image_are_not_served(name: str) -> None:
    tasks = plugins.constant("augment.transforms", name, "TASKS")
    assert {"detection", "instance_segmentation", "keypoint_detection", "segmentation"} == set(tasks)
