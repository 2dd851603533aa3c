"""A mosaic shows parts of four images, and all annotations are those of the pixels beside them."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from pipeline.augment.fit import Fit
from pipeline.augment.policy import Policy
from pipeline.geometry import rle
from pipeline.sample import Sample

SIDE = 96
#: the green of an image is its number times this; its object is red
GREEN = 60


def numbered(number: int, *, with_masks: bool = True, square: tuple[int, int, int, int] = (24, 30, 72, 66)) -> Sample:
    """An image of its own green, and a red object with every annotation, of the class of the image's number."""
    left, top, right, bottom = square
    inside = np.zeros((SIDE, SIDE), bool)
    inside[top:bottom, left:right] = True
    return Sample(
        f"n{number}",
        np.stack([255 * inside, np.full_like(inside, GREEN * number, int), 0 * inside], axis=2).astype(np.uint8),
        size=(2 * SIDE, 2 * SIDE),
        label=number,
        boxes=np.array([square], np.float32),
        labels=np.array([number]),
        masks=[rle.encode(inside)] if with_masks else None,
        crowd=np.array([number == 2]) if number > 1 else None,
        keypoints=np.array([[[left, top, 2], [right, bottom, 1], [0, 0, 0]]], np.float32),
        semantic=np.where(inside, np.uint8(number + 1), np.uint8(0)),
        weight=np.where(inside, np.float32(5), np.float32(1)),
        proposals=np.array([square], np.float32),
    )


def mosaic(seed: int, *, with_masks: bool = True, **options: Any) -> Sample:
    samples = [numbered(number, with_masks=with_masks) for number in range(4)]
    others = iter(samples[1:])
    return Policy([{"mosaic": {"p": 1.0, **options}}])(samples[0], seed, lambda _: next(others), Fit(SIDE))


def of_number(sample: Sample) -> Any:
    """The number of the image that each pixel is of, and whether it shows the object."""
    assert (sample.pixels[..., 1] % GREEN == 0).all()
    return sample.pixels[..., 1] // GREEN, sample.pixels[..., 0] > 127


def test_four_images_meet_at_one_point() -> None:
    rows, columns = [], []
    for seed in range(60):
        result = mosaic(seed)
        assert result.pixels.shape == (SIDE, SIDE, 3)
        numbers, _ = of_number(result)
        corners = [numbers[at] for at in ((0, 0), (0, -1), (-1, 0), (-1, -1))]
        assert corners == [0, 1, 2, 3]
        rows.append(int((numbers[:, 0] == 0).sum()))
        columns.append(int((numbers[0] == 0).sum()))
        whole = np.zeros((SIDE, SIDE), int)
        whole[:, columns[-1] :] += 1
        whole[rows[-1] :] += 2
        np.testing.assert_array_equal(numbers, whole)
    for sides in (rows, columns):
        assert SIDE * 0.25 <= min(sides) < SIDE * 0.32
        assert SIDE * 0.68 < max(sides) <= SIDE * 0.75


@pytest.mark.parametrize("with_masks", [True, False])
def test_every_annotation_is_of_the_pixels_beside_it(with_masks: bool) -> None:
    seen = 0
    for seed in range(30):
        result = mosaic(seed, with_masks=with_masks)
        numbers, shows_object = of_number(result)
        assert result.boxes is not None
        assert result.labels is not None
        assert result.semantic is not None
        assert result.weight is not None
        assert result.keypoints is not None
        assert result.proposals is not None
        assert result.crowd is not None
        assert result.label is None
        assert result.size == (2 * SIDE, 2 * SIDE)
        assert len({len(result.boxes), len(result.labels), len(result.crowd), len(result.keypoints)}) == 1
        assert ((result.semantic == numbers + 1) == shows_object).mean() > 0.97
        assert ((result.weight > 3) == shows_object).mean() > 0.97
        assert result.crowd.tolist() == (result.labels == 2).tolist()
        for index, (number, box) in enumerate(zip(result.labels.tolist(), result.boxes, strict=True)):
            left, top, right, bottom = np.rint(box).astype(int)
            where = np.zeros((SIDE, SIDE), bool)
            where[top:bottom, left:right] = True
            of_object = (numbers == number) & shows_object
            if where.sum() < 30:
                continue
            seen += 1
            assert of_object[where].mean() > 0.85
            assert of_object[~where].sum() <= 2 * (bottom - top + right - left)
            assert min(np.abs(result.proposals - box).max(axis=1)) <= 1.5
            if with_masks:
                assert result.masks is not None
                mask = rle.decode(result.masks[index], SIDE, SIDE)
                assert (mask == of_object).mean() > 0.98
            first, second, none = result.keypoints[index]
            assert none.tolist() == [0, 0, 0]
            if first[2] and second[2]:
                np.testing.assert_allclose([*first[:2], *second[:2]], box, atol=1.5)
        assert (result.masks is None) != with_masks
    assert seen > 60


def test_no_part_is_enlarged() -> None:
    """Stripes of a pixel become gray where they are shrunk, and would become wide where they are enlarged."""
    stripes = np.zeros((SIDE, SIDE, 3), np.uint8)
    stripes[:, ::2] = 255
    sample = Sample("x", stripes, boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))
    change = Policy([{"mosaic": {"p": 1.0}}])
    for seed in range(10):
        runs = np.abs(np.diff(change(sample, seed, lambda _: sample).pixels[..., 0].astype(int), axis=1)) < 2
        longest = (
            max(len(run) for row in runs for run in "".join("x" if same else " " for same in row).split())
            if runs.any()
            else 0
        )
        assert longest < SIDE // 2
    assert change.least_side is None, "inputs of the job's size serve"


def test_other_images_go_through_what_comes_before() -> None:
    entries: list[dict[str, dict[str, Any]]] = [{"horizontal_flip": {"p": 1.0}}, {"mosaic": {"p": 1.0}}]
    half = np.zeros((SIDE, SIDE, 3), np.uint8)
    half[:, : SIDE // 2] = 255
    sample, asked = Sample("x", half), list[int]()

    def other(number: int) -> Sample:
        asked.append(number)
        return sample

    for seed in range(10):
        left, right = np.split(Policy(entries)(sample, seed, other, Fit(SIDE)).pixels, 2, axis=1)
        assert len(asked) == 3 * (seed + 1)
        assert left.mean() < right.mean()
    assert len(set(asked)) == 30


def test_a_field_that_one_of_four_lacks_is_dropped() -> None:
    lacking = dataclasses.replace(numbered(1), semantic=None, masks=None)
    result = Policy([{"mosaic": {"p": 1.0}}])(numbered(0), 0, lambda _: lacking, Fit(SIDE))
    assert (result.semantic, result.masks) == (None, None)
    assert result.boxes is not None
    bare = Policy([{"mosaic": {"p": 1.0}}])(numbered(0), 0, lambda _: Sample("bare", numbered(1).pixels), Fit(SIDE))
    assert (bare.boxes, bare.labels, bare.masks, bare.crowd, bare.keypoints) == (None,) * 5
