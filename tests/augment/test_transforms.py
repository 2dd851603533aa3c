"""Every transform of the listing: its form, what it does to a marked square, and that annotations follow the pixels."""

import dataclasses
import inspect
import warnings
from typing import Any

import albumentations
import numpy as np
import pytest

from pipeline import plugins
from pipeline.augment.fit import Fit
from pipeline.augment.policy import Policy
from pipeline.augment.transforms.parts.affine import RandomHomography
from pipeline.augment.transforms.parts.joining import Joining
from pipeline.augment.transforms.parts.operations import RandomOperations
from pipeline.augment.transforms.parts.window import RandomWindow
from pipeline.geometry import rle
from pipeline.sample import IGNORE, Sample
from tests.helpers.marks import NUMBER, SIDE, SQUARE, bright, extent, marked

TRANSFORMS = plugins.names("augment.transforms")
MIXING = [name for name in TRANSFORMS if plugins.constant("augment.transforms", name, "OTHERS")]


def options(name: str) -> dict[str, Any]:
    """What a transform needs besides its defaults."""
    return dict(plugins.constant("augment.transforms", name, "EXAMPLE") or {})


def build(name: str, p: float = 1.0) -> Any:
    return plugins.load("augment.transforms", name).build(p=p, **options(name))


def operations(name: str, seed: int) -> Any:
    """What a transform of random operations samples in a policy with this seed."""
    generator = np.random.default_rng(seed)
    assert generator.random() < 1  # compared with p
    return build(name).sample(generator, SIDE, SIDE)


def moves(name: str) -> bool:
    if isinstance(build(name), RandomOperations):
        return any(isinstance(item, RandomHomography) for seed in range(40) for item in operations(name, seed))
    return isinstance(build(name), RandomHomography | RandomWindow | albumentations.DualTransform)


#: what cuts a part out and enlarges it, and so the errors of half a pixel
CUTTING = [name for name in TRANSFORMS if plugins.constant("augment.transforms", name, "BEFORE_FIT")]
MOVING = [name for name in TRANSFORMS if name not in MIXING and moves(name)]
#: those that move pixels, or change them where they are, by chance
EITHER = [name for name in MOVING if isinstance(build(name), RandomOperations)]
COLOR = [name for name in TRANSFORMS if name not in MIXING + MOVING]


def keeps_upright(name: str) -> bool:
    """Whether an upright square stays upright, so that its box is as tight as before."""
    built = build(name)
    if isinstance(built, RandomWindow):
        return True
    if not isinstance(built, RandomHomography):
        return False
    matrices = [built.sample(np.random.default_rng(seed), SIDE, SIDE) for seed in range(4)]
    return all(np.allclose(matrix[:2, :2], np.diag(np.diag(matrix)[:2])) for matrix in matrices) and all(
        np.allclose(matrix[2, :2], 0) for matrix in matrices
    )


UPRIGHT = [name for name in MOVING if keeps_upright(name)]


def policy(*entries: dict[str, dict[str, Any]]) -> Policy:
    return Policy(entries, classes=10)


def labelled(name: str = "marked") -> Sample:
    """As for classification: one label, nothing else."""
    return Sample(name, marked().pixels, group="g", label=3)


def colored() -> Sample:
    return dataclasses.replace(labelled(), image=marked(color=True).pixels)


def other(_: int) -> Sample:
    return Sample("other", np.ascontiguousarray(255 - marked().pixels), label=5)


def serves_labels(name: str) -> bool:
    return "classification" in (plugins.constant("augment.transforms", name, "TASKS") or ("classification",))


def pair(name: str) -> tuple[Sample, Sample]:
    """Two samples of a task that the transform serves."""
    if serves_labels(name):
        return colored(), other(0)
    return marked(with_masks=True, color=True), marked((24, 20, 40, 36), with_masks=True)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_is_built_by_its_options_all_typed_with_a_default(name: str) -> None:
    module = plugins.load("augment.transforms", name)
    built = build(name, p=0.25)
    assert built.p == 0.25
    alone = RandomHomography | RandomWindow | RandomOperations | albumentations.BasicTransform
    assert isinstance(built, alone) != (name in MIXING)
    assert isinstance(built, RandomWindow) is bool(plugins.constant("augment.transforms", name, "BEFORE_FIT"))
    allowed = plugins.options("augment.transforms", name, "build")
    assert allowed
    assert set(module.build.__annotations__) - {"options"} == {*allowed, "return"}
    parameters = inspect.signature(module.build).parameters
    without = {key for key in allowed if parameters[key].default is inspect.Parameter.empty}
    assert without <= set(options(name))
    assert module.build.__doc__
    if isinstance(built, Joining):
        assert module.OTHERS == built.others > 1
    elif name in MIXING:
        assert module.OTHERS == 1
        assert list(inspect.signature(built.apply).parameters) == ["sample", "other", "generator", "classes"]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_changes_pixels_and_keeps_the_form(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        change, (first, second) = policy({name: {**options(name), "p": 1.0}}), pair(name)
        results = [change(first, seed, lambda _: second, Fit(SIDE)) for seed in range(4)]
    for result in results:
        assert result.pixels.shape == (SIDE, SIDE, 3)
        assert result.pixels.dtype == np.uint8
        assert (result.id, result.group) == ("marked", "g")
        if isinstance(result.label, np.ndarray):
            assert name in MIXING
            assert result.label.sum() == pytest.approx(1)
        else:
            assert result.label == (3 if serves_labels(name) else None)
    changed = [not np.array_equal(result.pixels, first.pixels) for result in results]
    by_chance = name in MIXING + EITHER  # mixup: a λ near to 1 is likely
    assert any(changed) if by_chance else all(changed)
    np.testing.assert_array_equal(change(first, 2, lambda _: second, Fit(SIDE)).pixels, results[2].pixels)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_with_probability_0_nothing_happens(name: str) -> None:
    np.testing.assert_array_equal(
        policy({name: {**options(name), "p": 0.0}})(labelled(), 1, other).pixels, marked().pixels
    )


@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("name", [*MOVING, "all"])
def test_annotations_move_with_the_pixels(name: str, with_masks: bool) -> None:
    chosen = [entry for entry in MOVING if entry not in CUTTING + EITHER] if name == "all" else [name]
    change = policy(*({entry: {**options(entry), "p": 1.0}} for entry in chosen))
    seeds, seen = list(range(12)), 0
    if name in EITHER:  # where it moves pixels, and leaves their values
        moved = (all(isinstance(item, RandomHomography) for item in operations(name, seed)) for seed in range(100))
        seeds = [seed for seed, moves_alone in enumerate(moved) if moves_alone]
    for seed in seeds:
        result = change(marked(with_masks=with_masks), seed, fit=Fit(SIDE))
        where = bright(result)
        if where.sum() < 20:  # mostly moved out
            continue
        seen += 1
        assert result.boxes is not None
        assert result.semantic is not None
        assert result.weight is not None
        assert result.proposals is not None
        assert [value.dtype for value in (result.boxes, result.proposals, result.weight)] == ["float32"] * 3
        assert result.semantic.dtype == np.uint8
        assert set(np.unique(result.semantic)) <= {0, NUMBER, IGNORE}
        np.testing.assert_allclose(extent(result.semantic == NUMBER), extent(where), atol=1.5)
        np.testing.assert_allclose(extent(result.weight > 3), extent(where), atol=1.5)
        assert 0 <= result.weight.min() <= result.weight.max() <= 5
        turned = 1.5 if with_masks or name in UPRIGHT else 9  # the box of a turned box is wider than what is in it
        np.testing.assert_allclose(result.boxes[0], extent(where), atol=turned)
        np.testing.assert_allclose(result.proposals[0], extent(where), atol=1.5 if name in UPRIGHT else 9)
        if with_masks:
            assert result.masks is not None
            mask = rle.decode(result.masks[0], SIDE, SIDE)
            assert (mask == (result.semantic == NUMBER)).mean() > 0.995
            np.testing.assert_allclose(extent(mask), result.boxes[0], atol=1 if name in CUTTING else 0)
        else:
            assert result.masks is None
        assert [list(value) for value in (result.labels, result.crowd, result.difficult) if value is not None] == [
            [NUMBER],
            [True],
            [False],
        ]
    assert seen >= 6


@pytest.mark.parametrize("name", COLOR)
def test_colour_leaves_annotations_alone(name: str) -> None:
    before = marked(with_masks=True)
    after = policy({name: {**options(name), "p": 1.0}})(before, 0)
    for field in dataclasses.fields(Sample):
        if field.name != "image":
            assert getattr(after, field.name) is getattr(before, field.name)


@pytest.mark.parametrize(("name", "mirrored"), [("horizontal_flip", np.fliplr), ("vertical_flip", np.flipud)])
def test_a_flip_flips_to_the_pixel(name: str, mirrored: Any) -> None:
    result = policy({name: {"p": 1.0}})(marked(with_masks=True), 0)
    np.testing.assert_array_equal(result.pixels, mirrored(marked().pixels))
    np.testing.assert_array_equal(result.semantic, mirrored(marked().semantic))
    np.testing.assert_array_equal(result.weight, mirrored(marked().weight))
    assert result.boxes is not None
    left, top, right, bottom = SQUARE
    expected = [SIDE - right, top, SIDE - left, bottom] if name[0] == "h" else [left, SIDE - bottom, right, SIDE - top]
    np.testing.assert_allclose(result.boxes, [expected], atol=1e-4)


@pytest.mark.parametrize(("name", "low", "high"), [("shift", -0.25, 0.25), ("scale", 0.75, 1.25)])
def test_motions_fill_their_range(name: str, low: float, high: float) -> None:
    change, found = policy({name: {"limit": 0.25}}), []
    for seed in range(60):
        boxes = change(marked(), seed).boxes
        assert boxes is not None
        left, top, right, bottom = boxes[0].tolist()
        if name == "scale":
            assert right - left == pytest.approx(bottom - top, abs=1e-3)  # both sides alike
            found.append((right - left) / (SQUARE[2] - SQUARE[0]))
        elif left > 0:
            found.append((right - SQUARE[2]) / SIDE)
    assert low <= min(found) <= low + 0.05
    assert high - 0.05 <= max(found) <= high


def test_a_rotation_turns_by_its_angle_about_the_centre() -> None:
    sample_matrix = plugins.load("augment.transforms", "rotation").build(degrees=30.0).sample
    angles = []
    for seed in range(50):
        matrix = sample_matrix(np.random.default_rng(seed), 40, 60)
        np.testing.assert_allclose(matrix @ [30, 20, 1], [30, 20, 1])
        np.testing.assert_allclose(matrix[:2, :2] @ matrix[:2, :2].T, np.eye(2), atol=1e-12)
        angles.append(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    assert -30 <= min(angles) < -26
    assert 26 < max(angles) <= 30


def test_a_crop_is_a_part_of_the_image_at_full_size() -> None:
    sample_matrix = plugins.load("augment.transforms", "crop").build(area=0.25, ratio=2.0).sample
    areas = []
    for seed in range(100):
        matrix = sample_matrix(np.random.default_rng(seed), 40, 60)
        part = np.linalg.inv(matrix) @ [[0, 60], [0, 40], [1, 1]]
        assert part[:2].min() >= -1e-9
        assert part[0, 1] <= 60 + 1e-9
        assert part[1, 1] <= 40 + 1e-9
        across, down = (part[:2, 1] - part[:2, 0]) / (60, 40)
        assert 0.49 <= across / down <= 2.01
        areas.append(across * down)
    assert 0.2 <= min(areas) < 0.35
    assert max(areas) > 0.85


@pytest.mark.parametrize("given", [{"grid": 3}, {"grid": 0, "sigma": 4.0}])
def test_elastic_displacements_have_their_standard_deviation_and_are_smooth(given: dict[str, Any]) -> None:
    built = plugins.load("augment.transforms", "elastic").build(std=10.0, p=1.0, **given)
    fields = []
    for seed in range(60):
        built.set_random_seed(seed)
        fields.append(built._field(96, 128))
    drawn = np.stack(fields)
    assert drawn.shape == (60, 96, 128, 2)
    assert np.abs(drawn.mean()) < 1
    spread = drawn[:, 16::32, 21::43].std() if given["grid"] else drawn.std()  # at the control points
    assert spread == pytest.approx(10, rel=0.1)
    assert np.abs(np.diff(drawn, axis=1)).max() < 10


def test_the_listing_has_each_sort() -> None:
    """So that the sorts above, which are found by what is built, can't be empty."""
    assert {"contrast", "noise"} <= set(COLOR)
    assert {"elastic", "rotation"} <= set(MOVING) - set(UPRIGHT)
    assert {"crop", "horizontal_flip", "scale", "shift", "vertical_flip"} <= set(UPRIGHT)
    assert {"rand_augment", "trivial_augment"} == set(EITHER) <= set(MOVING)
    assert {"blur", "cutout", "hue_saturation", "jpeg"} <= set(COLOR)
