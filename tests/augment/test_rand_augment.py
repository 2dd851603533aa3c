"""RandAugment and TrivialAugment: number and strength of the operations, and each operation against torchvision's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from pipeline import plugins
from pipeline.augment.policy import Policy
from pipeline.sample import Sample
from tests.helpers.marks import bright, extent, marked, picture

SIDE = 64
MAGNITUDE = 6.0
STRENGTH = MAGNITUDE / 10
Tensor = torch.Tensor


def changed(operation: str, seed: int) -> Any:
    options = {"number": 1, "magnitude": MAGNITUDE, "operations": [operation]}
    return Policy([{"rand_augment": options}])(Sample("x", picture(SIDE)), seed).pixels.astype(int)


def moved(image: Tensor, *, angle: float = 0, shift: tuple[float, float] = (0, 0), shear: Any = (0, 0)) -> Tensor:
    bilinear = InterpolationMode.BILINEAR
    translation = [SIDE * fraction for fraction in shift]
    return tv.affine(image, angle, translation, 1.0, [float(np.degrees(np.arctan(tan))) for tan in shear], bilinear)


#: at a strength within -1 to 1, as in the paper: rotations of 30 degrees, shears of 0.3, shifts of 0.45, …
EXPECTED: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda image, _: image,
    "auto_contrast": lambda image, _: tv.autocontrast(image),
    "equalize": lambda image, _: tv.equalize(image),
    "rotate": lambda image, strength: moved(image, angle=30 * strength),
    "solarize": lambda image, strength: tv.solarize(image, round(256 * (1 - abs(strength)))),
    "color": lambda image, strength: tv.adjust_saturation(image, 1 + 0.9 * strength),
    "posterize": lambda image, strength: tv.posterize(image, 8 - round(4 * abs(strength))),
    "contrast": lambda image, strength: tv.adjust_contrast(image, 1 + 0.9 * strength),
    "brightness": lambda image, strength: tv.adjust_brightness(image, 1 + 0.9 * strength),
    "sharpness": lambda image, strength: tv.adjust_sharpness(image, 1 + 0.9 * strength),
    "shear_x": lambda image, strength: moved(image, shear=(0.3 * strength, 0)),
    "shear_y": lambda image, strength: moved(image, shear=(0, 0.3 * strength)),
    "translate_x": lambda image, strength: moved(image, shift=(0.45 * strength, 0)),
    "translate_y": lambda image, strength: moved(image, shift=(0, 0.45 * strength)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_operation_is_the_papers(name: str) -> None:
    image = torch.from_numpy(picture(SIDE)).permute(2, 0, 1)
    expected = [EXPECTED[name](image, sign * STRENGTH).permute(1, 2, 0).numpy().astype(int) for sign in (-1, 1)]
    seen = set()
    for seed in range(8):
        distances = [float(np.abs(changed(name, seed) - each).mean()) for each in expected]
        assert min(distances) < 1.5
        seen.add(int(np.argmin(distances)))
    same = np.abs(expected[0] - expected[1]).mean() == 0
    assert seen == ({0} if same else {0, 1})


def test_the_operations_are_the_papers_fourteen() -> None:
    assert len(EXPECTED) == 14
    for name in ("rand_augment", "trivial_augment"):
        build = plugins.load("augment.transforms", name).build
        build(operations=list(EXPECTED))
        with pytest.raises(ValueError, match=r"operations: .*'color'"):
            build(operations=["colour"])


@pytest.mark.parametrize("number", [1, 2, 5])
def test_as_many_operations_are_sampled_of_all(number: int) -> None:
    built = plugins.load("augment.transforms", "rand_augment").build(number=number)
    sampled = [built.sample(np.random.default_rng(seed), SIDE, SIDE) for seed in range(50)]
    assert {len(operations) for operations in sampled} == {number}
    assert {
        len(plugins.load("augment.transforms", "trivial_augment").build().sample(np.random.default_rng(0), 9, 9))
    } == {1}
    images = {changed_by(number, seed).tobytes() for seed in range(60)}
    assert len(images) > 14


def changed_by(number: int, seed: int) -> Any:
    return Policy([{"rand_augment": {"number": number}}])(Sample("x", picture(SIDE)), seed).pixels


def test_magnitude_0_changes_nothing_but_the_histogram() -> None:
    names = [name for name in EXPECTED if name not in ("auto_contrast", "equalize")]
    change = Policy([{"rand_augment": {"number": 14, "magnitude": 0, "operations": names}}])
    for seed in range(5):
        np.testing.assert_array_equal(change(Sample("x", picture(SIDE)), seed).pixels, picture(SIDE))


def test_two_moves_are_one_warp() -> None:
    """The control: two warps one after another lose what the first moved out."""
    there = {"number": 2, "operations": ["translate_x"], "magnitude": 10}
    seen = set()
    for seed in range(20):
        pixels = Policy([{"rand_augment": there}])(Sample("x", picture(SIDE)), seed).pixels
        seen.add(bool(np.array_equal(pixels, picture(SIDE))))
    assert seen == {True, False}  # there and back, or twice there


def test_the_strength_of_trivial_augment_fills_its_range() -> None:
    change, shifts = Policy([{"trivial_augment": {"operations": ["translate_x"]}}]), []
    for seed in range(80):
        where = bright(change(marked((20, 20, 28, 28)), seed))
        if where.any():
            left, _, right, _ = extent(where)
            shifts.append(((left + right) / 2 - 24) / 48)
    assert -0.46 < min(shifts) < -0.38
    assert 0.38 < max(shifts) < 0.46
    assert np.std(shifts) == pytest.approx(0.9 / 12**0.5, rel=0.15)
