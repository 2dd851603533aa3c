"""Random resized crops are of the stored image's own pixels, as published, and all annotations follow."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from pipeline import plugins
from pipeline.augment.fit import Fit, Reduction
from pipeline.augment.policy import Policy
from pipeline.geometry import rle
from pipeline.images import resize
from pipeline.sample import FIELDS, Sample
from tests.helpers.marks import bright, extent, wide

SIDE = 32
NAME = "random_resized_crop"


def windows(height: int, width: int, number: int = 400, **options: Any) -> list[tuple[int, int, int, int]]:
    built = plugins.load("augment.transforms", NAME).build(**options)
    return [built.sample(np.random.default_rng(seed), height, width) for seed in range(number)]


@pytest.mark.parametrize(("height", "width"), [(60, 90), (200, 50), (1, 1), (3, 700)])
def test_a_window_lies_in_the_image(height: int, width: int) -> None:
    for left, top, right, bottom in windows(height, width, 100):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_areas_and_ratios_fill_their_ranges() -> None:
    sampled = windows(300, 300, scale=[0.2, 0.6], ratio=[0.5, 2.0])
    areas = [(right - left) * (bottom - top) / 300**2 for left, top, right, bottom in sampled]
    ratios = np.log([(right - left) / (bottom - top) for left, top, right, bottom in sampled])
    assert 0.19 < min(areas) < 0.22
    assert 0.55 < max(areas) < 0.61
    assert ratios.min() == pytest.approx(np.log(0.5), abs=0.06)
    assert ratios.max() == pytest.approx(np.log(2), abs=0.06)
    assert abs(ratios.mean()) < 0.06
    centres = np.array([((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in sampled]) / 300
    np.testing.assert_allclose(centres.mean(axis=0), 0.5, atol=0.03)


def test_of_an_image_too_long_for_any_window_the_centre_is_taken() -> None:
    (window,) = set(windows(10, 100, 5, scale=[0.9, 1.0]))
    assert window == (43, 0, 56, 10)  # 4:3
    (window,) = set(windows(100, 10, 5, scale=[0.9, 1.0]))
    assert window == (0, 43, 10, 56)


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"scale": [0.5]}, "scale is"),
        ({"scale": [0.5, 0.2]}, "scale is"),
        ({"ratio": [2, 1]}, "ratio is"),
        ({"scale": [0, 1]}, "scale is 0"),
        ({"ratio": [0.001, 1]}, "ratio is 0.001"),
        ({"p": 2}, "p is 2"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        plugins.load("augment.transforms", NAME).build(**options)


def policy(**options: Any) -> Policy:
    return Policy([{NAME: options}])


@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
def test_the_input_is_the_window_of_the_images_own_pixels_scaled_once(mode: str) -> None:
    item = Sample("x", np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    for seed in range(8):
        generator = np.random.default_rng(seed)
        assert generator.random() < 1
        left, top, right, bottom = plugins.load("augment.transforms", NAME).build().sample(generator, 120, 160)
        expected = resize(np.ascontiguousarray(item.pixels[top:bottom, left:right]), SIDE, SIDE)
        after = policy()(item, seed, fit=Fit(SIDE, mode))
        np.testing.assert_array_equal(after.pixels, expected)


def test_a_fine_pattern_is_lost_only_where_it_is_cut_after_scaling() -> None:
    """The control: `crop` enlarges from the input, which does not show stripes of a pixel any more."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    item, options = Sample("x", stripes), {"scale": [0.015, 0.016], "ratio": [1, 1]}
    own = Policy([{NAME: options}])(item, 0, fit=Fit(SIDE)).pixels
    enlarged = Policy([{"crop": {"area": 0.015, "ratio": 1.0}}])(item, 0, fit=Fit(SIDE)).pixels
    assert own.std() > 100
    assert enlarged.std() < 10


@pytest.mark.parametrize("with_masks", [True, False])
def test_annotations_follow(with_masks: bool) -> None:
    before = wide() if with_masks else dataclasses.replace(wide(), masks=None)
    seen = 0
    for seed in range(40):
        after = policy(scale=[0.3, 1.0])(before, seed, fit=Fit(64))
        assert after.boxes is not None
        assert after.keypoints is not None
        assert after.semantic is not None
        assert after.weight is not None
        assert after.proposals is not None
        if not bright(after).any():
            continue
        if not len(after.boxes):  # less than a pixel of it
            assert bright(after).sum() < 30
            continue
        seen += 1
        where = extent(bright(after))
        np.testing.assert_allclose(after.boxes, [where], atol=2)
        np.testing.assert_allclose(after.proposals, [where], atol=2)
        np.testing.assert_allclose(extent(after.semantic == 1), where, atol=2)
        np.testing.assert_allclose(extent(after.weight > 3), where, atol=2)
        corner, opposite, _ = after.keypoints[0]
        if corner[2] and opposite[2]:
            np.testing.assert_allclose([*corner[:2], *opposite[:2]], after.boxes[0], atol=2)
        if with_masks:
            assert after.masks is not None
            assert (rle.decode(after.masks[0], 64, 64) == (after.semantic == 1)).mean() > 0.97
    assert seen > 20


def test_a_second_sample_is_cut_as_well() -> None:
    dark = Sample("dark", np.zeros((50, 80, 3), np.uint8), label=0)
    lines = np.zeros((50, 80, 3), np.uint8)
    lines[:, 40:] = 250
    entries: list[dict[str, dict[str, Any]]] = [{NAME: {"scale": [0.1, 0.2]}}, {"mixup": {"alpha": 1.0, "p": 1.0}}]
    change = Policy(entries, classes=2)
    mixed = [change(dark, seed, lambda _: Sample("lines", lines, label=1), Fit(SIDE)) for seed in range(20)]
    assert {item.pixels.shape for item in mixed} == {(SIDE, SIDE, 3)}
    assert len({round(float((item.pixels[..., 0] > 0).mean()), 2) for item in mixed}) > 4
    kept = [change(dark, seed, lambda _: Sample("lines", lines, label=1)) for seed in range(5)]
    assert all(item.pixels.shape[0] < 50 for item in kept)


def test_what_resolution_it_needs_is_declared() -> None:
    assert policy().least_side == pytest.approx((0.08 * 3 / 4) ** 0.5)
    assert policy(scale=[0.44, 1.0], ratio=[1, 1]).least_side == pytest.approx(0.44**0.5)
    assert policy(p=0.0).least_side is None
    assert Policy([{"crop": {"area": 0.1}}, {"shift": {}}]).least_side is None


@pytest.mark.parametrize("least", [0.08, 0.44])
@pytest.mark.parametrize(("height", "width"), [(700, 900), (300, 200), (40, 60), (2000, 260)])
def test_no_crop_is_enlarged_from_a_copy_that_is_smaller_than_the_image(least: float, height: int, width: int) -> None:
    options: dict[str, Any] = {"scale": [least, 1.0]}
    least_side = policy(**options).least_side
    assert least_side is not None
    reduction = Reduction.of(SIDE, least_side)
    copy = reduction.shape(height, width)
    sides = [min(right - left, bottom - top) for left, top, right, bottom in windows(*copy, 2000, **options)]
    assert min(sides) >= SIDE or copy == (height, width)
    assert (copy == (height, width)) == (min(height, width) <= SIDE / least_side)
    if copy != (height, width) and height != 2000:  # the control: parts of a smaller copy would be enlarged
        smaller = Reduction(int(0.7 * reduction.short)).shape(height, width)
        assert min(min(r - x, b - y) for x, y, r, b in windows(*smaller, 2000, **options)) < SIDE


def test_an_input_is_the_same_of_the_image_and_of_its_copy() -> None:
    large = wide(400, 640)
    change = policy(scale=[0.44, 1.0])
    assert change.least_side is not None
    copy = Reduction.of(SIDE, change.least_side).begin(large)
    assert copy.pixels.shape[0] == 56  # round up of 32 / sqrt(.44 · 3 / 4)
    for seed in range(6):
        of_image, of_copy = (change(item, seed, fit=Fit(SIDE)) for item in (large, copy))
        for name in FIELDS:
            np.testing.assert_equal(getattr(of_image, name), getattr(of_copy, name), err_msg=name)
