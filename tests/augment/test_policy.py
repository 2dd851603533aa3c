"""A policy moves everything in a sample alike, and its seed alone decides how."""

import warnings
from typing import Any

import albumentations
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import plugins
from pipeline.augment.policy import Policy
from pipeline.errors import UserError
from pipeline.sample import IGNORE, Sample

TRANSFORMS = plugins.names("augment.transforms")
SIDE = 48
#: where the marked square lies: xyxy
SQUARE = (12, 8, 22, 18)


def marked() -> Sample:
    """A bright square on dark ground, with its box, and its id in the label map."""
    left, top, right, bottom = SQUARE
    image = np.full((SIDE, SIDE, 3), 60, np.uint8)
    image[top:bottom, left:right] = 220
    semantic = np.zeros((SIDE, SIDE), np.uint8)
    semantic[top:bottom, left:right] = 7
    image.flags.writeable = False  # as it comes from a memory map
    return Sample(
        "marked",
        image,
        group="g",
        label=3,
        boxes=np.array([SQUARE], np.float32),
        labels=np.array([7]),
        crowd=np.array([True]),
        difficult=np.array([False]),
        semantic=semantic,
    )


def extent(where: NDArray[np.bool_]) -> list[int]:
    """xyxy of what is true."""
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def policy(*entries: dict[str, dict[str, Any]]) -> Policy:
    return Policy(entries)


ALL: list[dict[str, dict[str, Any]]] = [{name: {}} for name in TRANSFORMS]


def test_no_transforms_change_nothing() -> None:
    sample = marked()
    assert policy()(sample, 0) is sample


def test_the_seed_alone_decides() -> None:
    change, again = policy(*ALL), policy(*ALL)
    results = [change(marked(), seed).pixels for seed in range(20)]
    assert len({result.tobytes() for result in results}) == 20
    for seed in reversed(range(20)):
        np.testing.assert_array_equal(again(marked(), seed).pixels, results[seed])
    np.random.seed(0)  # noqa: NPY002 (someone else's global stream)
    np.testing.assert_array_equal(change(marked(), 3).pixels, results[3])


def test_the_sample_that_went_in_is_as_it_was() -> None:
    sample, untouched = marked(), marked()
    for seed in range(5):
        policy(*ALL)(sample, seed)
    np.testing.assert_array_equal(sample.pixels, untouched.pixels)
    np.testing.assert_array_equal(sample.boxes, untouched.boxes)
    np.testing.assert_array_equal(sample.semantic, untouched.semantic)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_is_built_by_its_options_all_typed_with_a_default(name: str) -> None:
    module = plugins.load("augment.transforms", name)
    assert isinstance(module.build(), albumentations.BasicTransform)
    options = plugins.options("augment.transforms", name, "build")
    assert options
    assert set(module.build.__annotations__) == {*options, "return"}
    assert "p" in options
    assert module.build(p=0.25).p == 0.25


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_changes_pixels_and_keeps_the_form(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        change = policy({name: {"p": 1.0}})
        results = [change(marked(), seed) for seed in range(4)]
    for result in results:
        assert result.pixels.shape == (SIDE, SIDE, 3)
        assert result.pixels.dtype == np.uint8
        assert not np.array_equal(result.pixels, marked().pixels)
        assert (result.id, result.group, result.label) == ("marked", "g", 3)
    np.testing.assert_array_equal(change(marked(), 2).pixels, results[2].pixels)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_with_probability_0_nothing_happens(name: str) -> None:
    np.testing.assert_array_equal(policy({name: {"p": 0.0}})(marked(), 1).pixels, marked().pixels)


@pytest.mark.parametrize("name", [*TRANSFORMS, "all"])
def test_boxes_and_label_map_move_with_the_image(name: str) -> None:
    change = policy(*(entry for entry in ALL if name in entry or name == "all"))
    for seed in range(12):
        result = change(marked(), seed)
        assert result.boxes is not None
        assert result.semantic is not None
        assert result.boxes.dtype == np.float32
        assert result.semantic.dtype == np.uint8
        assert set(np.unique(result.semantic)) <= {0, 7, IGNORE}
        bright = np.median(result.pixels, axis=2) > 140
        box, seen, mapped = result.boxes[0], extent(bright), extent(result.semantic == 7)
        np.testing.assert_allclose(mapped, seen, atol=1.5)
        turned = name in {"rotation", "all"}  # the box of a turned box is wider than what was in it
        np.testing.assert_allclose(box, seen, atol=5 if turned else 1.5)
        assert result.labels is not None
        assert result.labels.tolist() == [7]


def test_a_flip_flips() -> None:
    result = policy({"horizontal_flip": {"p": 1.0}})(marked(), 0)
    np.testing.assert_array_equal(result.pixels, marked().pixels[:, ::-1])
    assert result.boxes is not None
    np.testing.assert_allclose(result.boxes, [[SIDE - 22, 8, SIDE - 12, 18]], atol=1e-4)


def test_boxes_that_leave_take_their_fields_with_them() -> None:
    boxes = np.array([[0, 0, 4, 4], [20, 20, 30, 30], [44, 44, 48, 48]], np.float32)
    flags = np.array([True, False, True])
    sample = Sample("x", marked().pixels, boxes=boxes, labels=np.array([5, 6, 7]), crowd=flags, difficult=~flags)
    change, kept = policy({"shift": {"limit": 0.2}}), set()
    for seed in range(30):
        result = change(sample, seed)
        assert result.boxes is not None
        assert result.labels is not None
        assert result.crowd is not None
        assert result.difficult is not None
        assert len(result.boxes) == len(result.labels) == len(result.crowd) == len(result.difficult)
        assert result.crowd.tolist() == [label != 6 for label in result.labels.tolist()]
        assert result.difficult.tolist() == [label == 6 for label in result.labels.tolist()]
        assert result.boxes.min() >= 0
        assert result.boxes.max() <= SIDE
        kept.add(tuple(result.labels.tolist()))
    assert {(5, 6), (6, 7)} <= kept


def test_an_image_without_objects_keeps_empty_fields() -> None:
    none = Sample("x", marked().pixels, boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))
    result = policy(*ALL)(none, 0)
    assert result.boxes is not None
    assert result.labels is not None
    assert result.boxes.shape == (0, 4)
    assert result.boxes.dtype == np.float32
    assert result.labels.shape == (0,)
    assert result.labels.dtype == np.int64
    bare = policy(*ALL)(Sample("x", marked().pixels), 0)
    assert (bare.boxes, bare.labels, bare.semantic) == (None, None, None)


def test_colour_leaves_small_boxes_alone_and_masks_are_never_left_in_the_wrong_place() -> None:
    small = np.array([[3, 3, 3.5, 3.5]], np.float32)
    sample = Sample("x", marked().pixels, boxes=small, labels=np.array([0]), masks=[b"rle"], proposals=small)
    coloured = policy({"noise": {"p": 1.0}})(sample, 0)
    assert coloured.boxes is small
    assert coloured.masks == [b"rle"]
    moved = policy({"noise": {}}, {"shift": {}})(sample, 0)
    assert (moved.masks, moved.proposals) == (None, None)


def test_contrast_keeps_the_mean() -> None:
    change = policy({"contrast": {"limit": 0.3, "p": 1.0}})
    factors = []
    for seed in range(30):
        pixels = change(marked(), seed).pixels.astype(float)
        assert pixels.mean() == pytest.approx(marked().pixels.mean(), abs=1)
        factors.append((pixels.max() - pixels.min()) / 160)
    assert min(factors) < 0.8
    assert max(factors) > 1.15
    assert 0.69 <= min(factors) <= max(factors) <= 1.31


def test_noise_is_independent_in_every_channel() -> None:
    noise = policy({"noise": {"std": 0.05, "p": 1.0}})(marked(), 1).pixels.astype(float) - marked().pixels
    correlations = np.asarray(np.corrcoef(noise.reshape(-1, 3).T))[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.1
    assert 0 < noise.std() < 0.05 * 255 * 1.1


@pytest.mark.parametrize(("name", "low", "high"), [("shift", -0.25, 0.25), ("scale", 0.75, 1.25)])
def test_motions_fill_their_range(name: str, low: float, high: float) -> None:
    change = policy({name: {"limit": 0.25}})
    found = []
    for seed in range(60):
        left, top, right, bottom = extent(change(marked(), seed).pixels[..., 0] > 140)
        found.append((left - SQUARE[0]) / SIDE if name == "shift" else (right - left) / (SQUARE[2] - SQUARE[0]))
        if name == "scale":
            assert abs((right - left) - (bottom - top)) <= 1  # both sides alike
    margin = 0.05 if name == "shift" else 0.11
    assert low - margin <= min(found) <= low + margin
    assert high - margin <= max(found) <= high + margin


def test_what_is_outside_is_black_and_ignored() -> None:
    result = policy({"shift": {"limit": 0.4}})(marked(), 0)
    outside = result.pixels.max(axis=2) == 0
    assert outside.any()
    assert result.semantic is not None
    assert set(np.unique(result.semantic[outside])) == {IGNORE}


def test_a_wrong_value_names_the_transform() -> None:
    for entry in ({"noise": {"std": 3}}, {"shift": {"limit": "x"}}, {"shift": {"limt": 0.1}}):
        with pytest.raises(UserError, match=rf"params\.yaml: augmentation: transform {next(iter(entry))}"):
            policy(entry)
