"""A policy is a function of the sample and the seed; motions in a row are one warp; who leaves takes all along."""

import dataclasses
from typing import Any

import albumentations
import cv2
import numpy as np
import pytest

from pipeline import plugins
from pipeline.augment.library import Library
from pipeline.augment.policy import Policy
from pipeline.augment.transforms.parts.affine import about_centre
from pipeline.augment.warp import Warp, warped
from pipeline.errors import UserError
from pipeline.geometry import rle
from pipeline.sample import IGNORE, Sample
from tests.helpers.marks import SIDE, marked

ALL: list[dict[str, dict[str, Any]]] = [
    {name: plugins.constant("augment.transforms", name, "EXAMPLE") or {}}
    for name in plugins.names("augment.transforms")
    if not plugins.constant("augment.transforms", name, "TASKS")
]


def policy(*entries: dict[str, dict[str, Any]]) -> Policy:
    return Policy(entries)


def other(number: int) -> Sample:
    return marked((20, 20, 30, 28 + number % 10))


def test_no_transforms_change_nothing() -> None:
    sample = marked()
    assert policy()(sample, 0) is sample


def test_the_seed_alone_decides() -> None:
    change, again = policy(*ALL), policy(*ALL)
    results = [change(marked(), seed, other).pixels for seed in range(20)]
    assert len({result.tobytes() for result in results}) == 20
    for seed in reversed(range(20)):
        np.testing.assert_array_equal(again(marked(), seed, other).pixels, results[seed])
    np.random.seed(0)  # noqa: NPY002 (someone else's global stream)
    np.testing.assert_array_equal(change(marked(), 3, other).pixels, results[3])


def test_the_sample_that_went_in_is_as_it_was() -> None:
    sample, untouched = marked(with_masks=True), marked(with_masks=True)
    for seed in range(5):
        policy(*ALL)(sample, seed, lambda _: marked(with_masks=True))
    for field in dataclasses.fields(Sample):
        np.testing.assert_array_equal(getattr(sample, field.name), getattr(untouched, field.name))


def test_motions_in_a_row_are_one_warp() -> None:
    change = policy({"shift": {}}, {"rotation": {}}, {"horizontal_flip": {}}, {"noise": {}}, {"contrast": {}})
    first, second = change._steps
    assert isinstance(first, Warp)
    assert len(first.homographies) == 3
    assert isinstance(second, Library)


def test_one_warp_goes_where_the_motions_go_one_by_one() -> None:
    """There and back again is nothing, so a product in the wrong order would show."""
    ahead = np.array([[1, 0, 9], [0, 1, -4], [0, 0, 1.0]])
    turned = about_centre((0, -1), (1, 0), SIDE, SIDE)
    one_by_one = warped(warped(marked(), ahead), turned)
    at_once = warped(marked(), turned @ ahead)
    np.testing.assert_array_equal(one_by_one.semantic, at_once.semantic)
    assert one_by_one.boxes is not None
    assert at_once.boxes is not None
    np.testing.assert_allclose(one_by_one.boxes, at_once.boxes, atol=1e-4)
    np.testing.assert_array_equal(warped(at_once, np.linalg.inv(turned @ ahead)).boxes, marked().boxes)


def test_a_warp_by_whole_pixels_is_exact_and_a_warp_agrees_with_albumentations() -> None:
    moved = warped(marked(), np.array([[1, 0, 5], [0, 1, 3], [0, 0, 1.0]]))
    np.testing.assert_array_equal(moved.pixels[3:, 5:], marked().pixels[:-3, :-5])
    assert moved.boxes is not None
    assert moved.boxes.tolist() == [[17, 11, 27, 21]]
    angle = np.radians(20)
    ours = warped(
        marked(), about_centre((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle)), SIDE, SIDE)
    ).pixels
    theirs = albumentations.Affine(rotate=(-20, -20), p=1.0)(image=marked().pixels)["image"]
    assert np.abs(ours.astype(int) - theirs).mean() < 0.1


def test_boxes_that_leave_take_their_fields_with_them() -> None:
    boxes = np.array([[0, 0, 4, 4], [20, 20, 30, 30], [44, 44, 48, 48]], np.float32)
    flags = np.array([True, False, True])
    plain = Sample("x", marked().pixels, boxes=boxes, labels=np.array([5, 6, 7]), crowd=flags, difficult=~flags)
    filled = np.zeros((3, SIDE, SIDE), bool)
    for mask, (left, top, right, bottom) in zip(filled, boxes.astype(int), strict=True):
        mask[top:bottom, left:right] = True
    masked = dataclasses.replace(plain, masks=[rle.encode(mask) for mask in filled])
    change = policy({"shift": {"limit": 0.2}})
    for sample in (plain, masked):
        kept = set()
        for seed in range(30):
            result = change(sample, seed)
            assert result.boxes is not None
            assert result.labels is not None
            assert result.crowd is not None
            assert result.difficult is not None
            assert len(result.boxes) == len(result.labels) == len(result.crowd) == len(result.difficult)
            assert result.crowd.tolist() == [label != 6 for label in result.labels.tolist()]
            assert result.difficult.tolist() == [label == 6 for label in result.labels.tolist()]
            assert 0 <= result.boxes.min() <= result.boxes.max() <= SIDE
            if sample is masked:
                assert len(result.masks or ()) == len(result.boxes)
            kept.add(tuple(result.labels.tolist()))
        assert {(5, 6), (6, 7)} <= kept


@pytest.mark.parametrize("name", ["shift", "elastic", "overlay", "mosaic", "rand_augment"])
@pytest.mark.parametrize("with_masks", [False, True])
def test_an_image_without_objects_keeps_empty_fields(name: str, with_masks: bool) -> None:
    none = Sample(
        "x",
        marked().pixels,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        masks=[] if with_masks else None,
        proposals=np.zeros((0, 4), np.float32),
    )
    result = policy({name: {"p": 1.0}})(none, 0, lambda _: none)
    assert result.boxes is not None
    assert result.labels is not None
    assert result.proposals is not None
    assert result.boxes.shape == (0, 4)
    assert result.labels.shape == (0,)
    assert result.boxes.dtype == np.float32
    assert result.labels.dtype == np.int64
    assert result.proposals.shape == (0, 4)
    assert result.masks == none.masks
    bare = policy({name: {"p": 1.0}})(Sample("x", marked().pixels), 0, lambda _: none)
    assert (bare.boxes, bare.labels, bare.semantic, bare.masks, bare.weight) == (None,) * 5


@pytest.mark.parametrize("name", ["shift", "elastic"])
def test_what_is_outside_is_black_ignored_and_of_no_weight(name: str) -> None:
    options = {"shift": {"limit": 0.4}, "elastic": {"std": 8.0, "p": 1.0}}[name]
    result = policy({name: options})(marked(), 0)
    outside = result.pixels.max(axis=2) == 0
    assert outside.any()
    assert result.semantic is not None
    assert result.weight is not None
    assert (result.semantic[outside] == IGNORE).mean() > 0.9  # the last pixel of bilinear may be nearly black
    assert result.weight[outside].max() < 0.1


def test_opencv_is_free_of_threads_of_its_own_in_the_result() -> None:
    before = cv2.getNumThreads()
    results = []
    for threads in (1, 2):
        cv2.setNumThreads(threads)
        results.append(policy({"rotation": {}}, {"elastic": {"p": 1.0}})(marked(), 4).pixels)
    cv2.setNumThreads(before)
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize(
    "entry",
    [
        {"noise": {"std": 3}},
        {"shift": {"limit": "x"}},
        {"shift": {"limt": 0.1}},
        {"shift": {"p": 2}},
        {"perspective": {"limit": 0.5}},
        {"mixup": {"alpha": 0}},
        {"elastic": {"grid": -1}},
        {"hue_saturation": {"hue": 0.6}},
        {"blur": {"sigma": [2, 1]}},
        {"jpeg": {"quality": [0, 50]}},
        {"cutout": {"area": [0.1]}},
        {"mosaic": {"margin": 0.6}},
        {"copy_paste": {"scale": [0, 1]}},
        {"rand_augment": {"magnitude": 11}},
        {"rand_augment": {"number": 1.5}},
        {"trivial_augment": {"operations": ["rotat"]}},
    ],
)
def test_a_wrong_value_names_the_transform(entry: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=rf"params\.yaml: augmentation: transform {next(iter(entry))}"):
        policy(entry)
