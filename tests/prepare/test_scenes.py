"""Drawn scenes: boxes, masks and label map say the same, splits share nothing, and a seed decides every byte."""

import hashlib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.errors import UserError
from pipeline.geometry.rle import decode
from pipeline.prepare.formats import scenes, single
from pipeline.prepare.formats.parts.scene import PHOTOGRAPHS, STRIPS, VISIBLE_PERCENT, Scene, partition
from pipeline.prepare.formats.parts.scene import scenes as drawn
from pipeline.sample import SPLITS, Classes, Sample

FEW = {"train": 60, "val": 20, "test": 20}


@cache
def some() -> list[Scene]:
    return list(drawn(FEW, side=128, most=6, seed=0))


def samples(**options: int) -> Iterator[Sample]:
    yield from (item for item in scenes.read(None, **options) if isinstance(item, Sample))


def test_boxes_masks_and_label_map_agree() -> None:
    for sample in samples(**FEW):
        assert sample.masks is not None
        assert sample.boxes is not None
        assert sample.labels is not None
        assert sample.semantic is not None
        masks = np.stack([decode(mask, 128, 128) for mask in sample.masks])
        assert masks.sum(0).max() == 1, "visible pixels belong to one digit"
        np.testing.assert_array_equal(sample.semantic, ((sample.labels + 1)[:, None, None] * masks).sum(0))
        for mask, box in zip(masks, sample.boxes.astype(int), strict=True):
            x_min, y_min, x_max, y_max = box
            assert mask[y_min:y_max, x_min:x_max].sum() == mask.sum()
            assert mask[y_min, :].any()
            assert mask[y_max - 1, :].any()
            assert mask[:, x_min].any()
            assert mask[:, x_max - 1].any()


def test_keypoints_are_the_ends_of_the_whole_stroke() -> None:
    """A digit's own scene, without those drawn after it, would end where its points are: in centres of pixels."""
    hidden = 0
    for scene in some():
        for thing in scene.digits:
            keypoints, rows, columns = thing.keypoints, *np.nonzero(thing.mask)
            places = np.floor(keypoints[:, :2]).astype(int)
            np.testing.assert_array_equal(keypoints[:, :2] - places, 0.5)
            seen = thing.mask[places[:, 1], places[:, 0]]
            np.testing.assert_array_equal(keypoints[:, 2], np.where(seen, 2, 1))
            ends = np.array([places[0, 1], places[1, 1], places[2, 0], places[3, 0]])
            visible = np.array([rows.min(), rows.max(), columns.min(), columns.max()])
            assert (ends[[0, 2]] <= visible[[0, 2]]).all()
            assert (ends[[1, 3]] >= visible[[1, 3]]).all()
            if thing.mask.sum() == thing.whole:
                np.testing.assert_array_equal(ends, visible)
                assert seen.all()
            hidden += int((~seen).sum())
    assert hidden > 5, "some are covered"


def test_one_to_six_digits_most_of_them_visible() -> None:
    assert {len(scene.digits) for scene in some()} == {1, 2, 3, 4, 5, 6}
    things = [thing for scene in some() for thing in scene.digits]
    assert {thing.label for thing in things} == set(range(10))
    assert all(100 * thing.mask.sum() >= VISIBLE_PERCENT * thing.whole for thing in things)
    assert any(thing.mask.sum() < thing.whole for thing in things), "some overlap"


def test_digits_differ_from_what_is_around_them() -> None:
    for scene in some():
        last = scene.digits[-1]
        inside = scene.pixels[last.mask].mean(0)
        top, left, bottom, right = (int(value) for value in last.box[[1, 0, 3, 2]])
        around = np.zeros_like(last.mask)
        around[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = True
        assert np.abs(inside - scene.pixels[around & ~last.mask].mean(0)).max() > 20


def test_no_digit_and_no_photo_region_is_in_two_splits() -> None:
    digits = load_digits()
    parts = {split: set(indices.tolist()) for split, indices in partition(0).items()}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(digits.images)
    assert len(np.unique(digits.images.reshape(len(digits.images), -1), axis=0)) == len(digits.images)
    strips = sorted(STRIPS[split] for split in SPLITS)
    assert all(before[1] <= after[0] for before, after in pairwise(strips))
    for scene in some():
        name, left, top, length = scene.crop
        first, last = STRIPS[scene.split]
        assert first <= left < left + length <= last
        assert 0 <= top < top + length <= 427
        assert name in PHOTOGRAPHS
        for thing in scene.digits:
            assert thing.digit in parts[scene.split]
            assert digits.target[thing.digit] == thing.label


def test_a_scene_depends_on_seed_split_and_number_alone() -> None:
    more = list(drawn({"train": 3, "val": 4, "test": 1}, side=128, most=6, seed=0))
    known = {(scene.split, scene.number): scene for scene in some()}
    for scene in more:
        np.testing.assert_array_equal(scene.pixels, known[scene.split, scene.number].pixels)
    other = next(drawn({"train": 1, "val": 1, "test": 1}, side=128, most=6, seed=1))
    assert (other.pixels != some()[0].pixels).any()


def test_the_bytes_are_the_known_ones() -> None:
    """Integer arithmetic only, so a new digest here means that everybody's scenes changed."""
    hasher = hashlib.sha256()
    for scene in some():
        hasher.update(scene.pixels.tobytes())
    assert hasher.hexdigest()[:16] == "f37659337c468ad7"


def test_keypoints_are_stored_with_their_objects() -> None:
    for sample, scene in zip(samples(**FEW), some(), strict=True):
        assert sample.keypoints is not None
        np.testing.assert_array_equal(sample.keypoints, [thing.keypoints for thing in scene.digits])


def test_scenes_have_what_every_dense_task_needs() -> None:
    classes, *_ = scenes.read(None, train=1, val=1, test=1)
    assert classes == Classes(tuple("0123456789"), ("background", *"0123456789"), ("top", "bottom", "left", "right"))
    (first, *others) = samples(train=1, val=1, test=1)
    assert [sample.split for sample in (first, *others)] == ["train", "val", "test"]
    assert first.id == "scenes/train/0000"
    assert first.pixels.shape == (128, 128, 3)


def test_single_has_a_label_and_its_box() -> None:
    classes, *items = single.read(None, train=30, val=5, test=5)
    assert classes == Classes(tuple("0123456789"))
    for sample in items:
        assert isinstance(sample, Sample)
        assert sample.pixels.shape == (64, 64, 3)
        assert sample.boxes is not None
        assert sample.labels is not None
        assert sample.labels.tolist() == [sample.label]
        x_min, y_min, x_max, y_max = sample.boxes[0]
        assert 0 <= x_min < x_max <= 64
        assert 0 <= y_min < y_max <= 64
        assert max(x_max - x_min, y_max - y_min) > 12


@pytest.mark.parametrize("options", [{"train": 0}, {"seed": -1}, {"val": "many"}])
def test_wrong_options_are_reported(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"option {next(iter(options))}"):
        list(scenes.read(None, **options))
