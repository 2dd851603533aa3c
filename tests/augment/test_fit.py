"""How images become a network's input: what is padded or cut, and that every annotation goes where its pixels go."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.augment import fit
from pipeline.augment.fit import GRAY, Fit
from pipeline.geometry import rle
from pipeline.sample import IGNORE, PER_OBJECT, TABLE, Form, Sample, resized
from tests.helpers import strategies
from tests.helpers.marks import bright, extent, wide

SIDE = 32


def test_stretch_is_scaling_alone() -> None:
    before = wide()
    after, placement = Fit(SIDE).forward(before)
    expected = resized(before, SIDE, SIDE)
    for field in dataclasses.fields(Sample):
        np.testing.assert_array_equal(getattr(after, field.name), getattr(expected, field.name), err_msg=field.name)
    assert placement.fills
    square = resized(before, SIDE, SIDE)
    for mode in ("stretch", "letterbox", "crop"):
        same, placement = Fit(SIDE, mode).forward(square)
        np.testing.assert_array_equal(same.pixels, square.pixels)
        assert placement.fills


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(60, 90, (0, 5, 32, 26)), (90, 60, (5, 0, 26, 32)), (2, 900, (0, 15, 32, 16)), (7, 7, (0, 0, 32, 32))],
)
def test_a_letterbox_keeps_the_aspect_and_pads_evenly(height: int, width: int, box: tuple[int, ...]) -> None:
    item = Sample("x", np.zeros((height, width, 3), np.uint8), semantic=np.zeros((height, width), np.uint8))
    after, placement = Fit(SIDE, "letterbox").forward(dataclasses.replace(item, weight=np.ones((height, width), "f4")))
    assert placement.box == box
    left, top, right, bottom = box
    padding = np.ones((SIDE, SIDE), np.bool_)
    padding[top:bottom, left:right] = False
    assert after.semantic is not None
    assert after.weight is not None
    assert set(np.unique(after.pixels[padding])) <= {GRAY}
    assert set(np.unique(after.semantic[padding])) <= {IGNORE}
    assert set(np.unique(after.weight[padding])) <= {0}
    assert not after.pixels[~padding].any()
    assert not after.semantic[~padding].any()
    assert (after.weight[~padding] == 1).all()


def test_a_crop_is_the_centre_by_its_short_side() -> None:
    columns = np.arange(90, dtype=np.uint8)[None, :, None].repeat(60, 0).repeat(3, 2)
    after, placement = Fit(60, "crop").forward(Sample("x", columns))
    np.testing.assert_array_equal(after.pixels, columns[:, 15:75])
    assert placement.box == (-15, 0, 75, 60)


@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
@pytest.mark.parametrize("with_masks", [True, False])
def test_annotations_go_with_the_pixels(mode: str, shape: tuple[int, int], with_masks: bool) -> None:
    before = wide(*shape, square=(30, 24, 54, 48))
    if not with_masks:
        before = dataclasses.replace(before, masks=None)
    after, _ = Fit(SIDE, mode).forward(before)
    assert after.pixels.shape == (SIDE, SIDE, 3)
    seen = extent(bright(after))
    assert after.boxes is not None
    assert after.semantic is not None
    assert after.weight is not None
    assert after.proposals is not None
    assert after.keypoints is not None
    for boxes in (after.boxes, after.proposals):
        np.testing.assert_allclose(boxes, [seen], atol=1)
        assert boxes.dtype == np.float32
    np.testing.assert_allclose(extent(after.semantic == 1), seen, atol=1)
    np.testing.assert_allclose(extent(after.weight > 3), seen, atol=1)
    np.testing.assert_allclose(after.keypoints[0, :2, :2].ravel(), after.boxes[0], atol=1)
    assert after.keypoints[0, :, 2].tolist() == [2, 1, 0]
    assert after.keypoints[0, 2].tolist() == [0, 0, 0]
    if with_masks:
        assert after.masks is not None
        np.testing.assert_array_equal(rle.decode(after.masks[0], SIDE, SIDE), after.semantic == 1)
    wide_side, high_side = (seen[2] - seen[0], seen[3] - seen[1])
    assert (abs(wide_side - high_side) <= 1) is (mode != "stretch"), "a square stays one where the aspect is kept"


def test_what_a_cut_leaves_outside_is_dropped_with_all_that_is_its() -> None:
    before = wide()
    two: dict[str, Any] = {
        name: [*value, *value] if isinstance(value, list) else np.concatenate([value, value])
        for name in PER_OBJECT
        if (value := getattr(before, name)) is not None
    }
    two["boxes"][1] = two["boxes"][0] - [38, 18, 38, 18]
    two["masks"][1] = rle.encode(np.pad(np.ones((16, 16), np.bool_), ((2, 42), (2, 72))))
    for masks in (two["masks"], None):
        after = fit.cut(dataclasses.replace(before, **{**two, "masks": masks}), (30, 10, 70, 40))
        assert after.pixels.shape == (30, 40, 3)
        assert after.size == (60, 80), "a pixel stands for as many of the original as before"
        assert {len(getattr(after, name)) for name in PER_OBJECT if getattr(after, name) is not None} == {1}
        assert after.boxes is not None
        assert after.boxes.tolist() == [[10, 10, 26, 26]]
        assert extent(bright(after)) == [10, 10, 26, 26]
    far = fit.cut(before, (0, 0, 20, 20))
    assert far.boxes is not None
    assert far.proposals is not None
    assert len(far.boxes) == len(far.proposals) == 0


@given(strategies.samples(), st.sampled_from([4, 9, 32]), st.sampled_from(["stretch", "letterbox", "crop"]))
@strategies.few
def test_any_sample_becomes_an_input(made: strategies.Made, side: int, mode: str) -> None:
    for before in made.samples:
        after, placement = Fit(side, mode).forward(before)
        assert placement == Fit(side, mode).placement(*before.pixels.shape[:2])
        assert after.pixels.shape == (side, side, 3)
        for name, row in TABLE.items():
            value, old = getattr(after, name), getattr(before, name)
            assert (value is None) is (old is None), name
            if isinstance(value, np.ndarray):
                assert value.dtype == old.dtype, name
            if row.form is Form.IDS:
                assert value.shape == (side, side)
        counts = {len(getattr(after, name)) for name in PER_OBJECT}
        assert len(counts) == 1
        for mask in after.masks or ():
            rle.area(mask, (side, side))
        assert after.keypoints is not None
        unlabelled = after.keypoints[after.keypoints[..., 2] == 0]
        assert not unlabelled.any() or mode == "stretch"
