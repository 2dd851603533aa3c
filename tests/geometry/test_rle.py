"""Run lengths and polygons: golden strings are pycocotools' 2.0.11; the rest follows from definitions."""

from typing import Any

import numpy as np
import pytest

from pipeline import images
from pipeline.geometry import rle

RANDOM = np.random.default_rng(0)


def block(height: int, width: int, *places: tuple[slice, slice]) -> rle.Mask:
    mask = np.zeros((height, width), np.bool_)
    for place in places:
        mask[place] = True
    return mask


#: the first by hand: columns 0 1 1 1 0 … → runs 1, 3, 2 → "132"
GOLDEN: list[tuple[Any, bytes]] = [
    (np.array([[0, 1, 0], [1, 1, 0]]), b"132"),
    (np.ones((2, 2)), b"04"),
    (np.zeros((2, 2)), b"4"),
    (block(10, 20, (slice(2, 7), slice(3, 12))), b"P155000000000000000^2"),
    (block(100, 100, (slice(50, 100), slice(90, 100)), (slice(3, 4), slice(3, 4))), b"_91Za8a1X`G00000000000000000"),
]


@pytest.mark.parametrize(("mask", "encoded"), GOLDEN)
def test_golden(mask: Any, encoded: bytes) -> None:
    assert rle.encode(mask.astype(np.uint8)) == rle.encode(mask.astype(np.bool_)) == encoded
    np.testing.assert_array_equal(rle.decode(encoded, *mask.shape), mask)
    assert rle.area(encoded) == rle.area(encoded, mask.shape) == mask.sum()


def test_all_masks_come_back() -> None:
    for share in np.linspace(0, 1, 40):
        mask = RANDOM.random(RANDOM.integers(1, 60, 2)) < share
        np.testing.assert_array_equal(rle.decode(rle.encode(mask), *mask.shape), mask)
    large = block(5000, 4000, (slice(4000, 5000), slice(3999, 4000)), (slice(0, 1), slice(0, 1)))
    np.testing.assert_array_equal(rle.decode(rle.encode(large), *large.shape), large)


def test_plain_runs() -> None:
    np.testing.assert_array_equal(rle.from_counts([1, 3, 2], 2, 3), GOLDEN[0][0])
    for wrong in ([1, -3, 8], [1.5, 4.5], ["6"]):
        with pytest.raises(ValueError, match="integer"):
            rle.from_counts(wrong, 2, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "empty"),
        (b"13 2", "character 2 of the RLE, b' '"),
        (b"13\xff", "character 2"),
        (b"13P", "ends within"),
        (b"PPPPPPPP1", "more than 7"),
        (b"1O6", "run 1 of the RLE is negative"),
        (b"131", "cover 5 pixels, not 3×2 = 6"),
        (b"133", "cover 7 pixels"),
    ],
)
def test_what_is_damaged_is_reported(encoded: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        rle.decode(encoded, 2, 3)


def test_polygons_by_hand() -> None:
    square = block(8, 9, (slice(1, 4), slice(2, 6)))
    np.testing.assert_array_equal(rle.from_polygons([[2, 1, 6, 1, 6, 4, 2, 4]], 8, 9), square)
    # a pixel belongs to it if the outline passes beyond its middle
    np.testing.assert_array_equal(rle.from_polygons([[2.4, 1.4, 5.6, 1.4, 5.6, 3.6, 2.4, 3.6]], 8, 9), square)
    assert not rle.from_polygons([[2.6, 1.6, 3.2, 1.6, 3.2, 2.2]], 8, 9).any()
    # two overlapping parts are one, and what lies outside is cut
    parts = [[-3, -3, 4, -3, 4, 2, -3, 2], [0, 0, 3, 0, 3, 20, 0, 12]]
    both = block(8, 9, (slice(0, 2), slice(0, 4)), (slice(0, 8), slice(0, 3)))
    np.testing.assert_array_equal(rle.from_polygons(parts, 8, 9), both)
    assert not rle.from_polygons([], 8, 9).any()


def test_polygons_as_pycocotools_draws_them() -> None:
    star = [10.3, 0.7, 14.9, 18.2, 1.1, 6.6, 19.6, 6.1, 4.4, 17.5]
    assert rle.encode(rle.from_polygons([star], 20, 21)) == b"_11c0001O1B052HO9OI0?NG2NN040L40K250G280G08OMN219O100OS1"


@pytest.mark.parametrize(
    ("polygon", "reason"),
    [
        ([1, 2, 3, 4], "4 numbers"),
        ([1, 2, 3, 4, 5, 6, 7], "7 numbers"),
        ([1, 2, 3, 4, 5, float("nan")], "not finite"),
        ([1, 2, 3, 4, 5, 1e9], "far outside"),
    ],
)
def test_wrong_polygons(polygon: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=f"polygon 1 .*{reason}"):
        rle.from_polygons([[0, 0, 4, 0, 4, 4], polygon], 8, 9)


def test_overlap_is_that_of_the_pixels() -> None:
    left = [RANDOM.random((30, 20)) < share for share in (0, 0.02, 0.5, 0.9, 1)]
    left += [block(30, 20, (slice(row, row + 9), slice(row, row + 4))) for row in range(0, 16, 3)]
    right = [*left[::-2], block(30, 20, (slice(0, 30), slice(0, 10)))]
    crowd = np.arange(len(right)) % 3 == 0
    found = rle.iou([rle.encode(mask) for mask in left], [rle.encode(mask) for mask in right], crowd)
    for row, a in enumerate(left):
        for column, b in enumerate(right):
            total = a.sum() if crowd[column] else (a | b).sum()
            assert found[row, column] == ((a & b).sum() / total if total else 0)


def test_overlap_of_nothing_and_of_unlike_sizes() -> None:
    assert rle.iou([], [b"4"]).shape == (0, 1)
    assert rle.iou([b"4", b"04"], []).shape == (2, 0)
    np.testing.assert_array_equal(rle.iou([b"4", b"04"], [b"4", b"04"]), [[0, 0], [0, 1]])
    with pytest.raises(ValueError, match="6 and 4 pixels"):
        rle.iou([b"04"], [b"132"])


def test_scaling_takes_the_nearest_pixel() -> None:
    for _ in range(20):
        mask = RANDOM.random(RANDOM.integers(2, 40, 2)) < 0.5
        height, width = (int(side) for side in RANDOM.integers(1, 60, 2))
        nearest = images.resize(mask.astype(np.uint8), height, width, smooth=False)
        scaled = rle.decode(rle.resize(rle.encode(mask), mask.shape, (height, width)), height, width)
        np.testing.assert_array_equal(scaled, nearest)


def test_plain_runs_become_the_rle_of_their_mask_without_it() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(side) for side in draw.integers(1, 30, 2))
        ends = np.sort(draw.integers(0, height * width + 1, draw.integers(1, 9)))
        counts = np.diff(ends, prepend=0, append=height * width).tolist()  # some are 0
        drawn = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T
        assert rle.encode_counts(counts, height, width) == rle.encode(drawn)


def test_a_scaled_mask_is_that_of_its_scaled_pixels() -> None:
    draw = np.random.default_rng(1)
    for _ in range(200):
        height, width, new_height, new_width = (int(side) for side in draw.integers(1, 70, 4))
        mask = draw.random((height, width)) < draw.choice([0.02, 0.5, 0.98])
        scaled = images.resize(mask.view(np.uint8), new_height, new_width, smooth=False)
        found = rle.resize(rle.encode(mask), (height, width), (new_height, new_width))
        assert found == rle.encode(scaled)


def test_a_contour_has_a_bound() -> None:
    comb = [value for at in range(200) for value in (at % 2 * 7000, at)]
    with pytest.raises(ValueError, match="a contour is longer than 800,000 pixels"):
        rle.encode_polygons([comb], 7000, 7000)
