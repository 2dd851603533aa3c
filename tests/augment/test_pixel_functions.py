"""What changes pixels where they are, compared with other libraries and with the definition."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from pipeline.augment.policy import Policy
from pipeline.images import Pixels
from pipeline.sample import Sample
from tests.helpers.marks import marked, picture


def changed(name: str, seed: int, pixels: Pixels | None = None, **options: Any) -> Any:
    sample = Sample("x", picture() if pixels is None else pixels, label=1)
    return Policy([{name: {"p": 1.0, **options}}])(sample, seed).pixels.astype(int)


def as_tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def as_pixels(tensor: torch.Tensor) -> Any:
    return tensor.permute(1, 2, 0).numpy().astype(int)


def distances(result: Any, candidates: list[Any]) -> list[float]:
    return [float(np.abs(result - candidate).mean()) for candidate in candidates]


def test_the_hue_is_turned_within_its_limit() -> None:
    tensor, turns = as_tensor(picture()), np.arange(-0.12, 0.121, 0.005)
    expected, nearest = [as_pixels(functional.adjust_hue(tensor, turn)) for turn in turns], []
    for seed in range(20):
        apart = distances(changed("hue_saturation", seed, hue=0.1, saturation=0.0), expected)
        assert min(apart) < 2  # a hue of OpenCV is a whole number below 180
        nearest.append(turns[int(np.argmin(apart))])
    assert -0.106 < min(nearest) < -0.07
    assert 0.07 < max(nearest) < 0.106


def test_the_saturation_is_multiplied_within_its_limit() -> None:
    tensor, factors = as_tensor(picture()), np.arange(0.4, 1.61, 0.02)
    expected, nearest = [as_pixels(functional.adjust_saturation(tensor, factor)) for factor in factors], []
    for seed in range(20):
        apart = distances(changed("hue_saturation", seed, hue=0.0, saturation=0.5), expected)
        assert min(apart) < 1.5
        nearest.append(factors[int(np.argmin(apart))])
    assert 0.47 < min(nearest) < 0.65
    assert 1.35 < max(nearest) < 1.53


def test_a_gray_image_has_no_hue_to_turn() -> None:
    gray = np.repeat(picture()[..., :1], 3, axis=2)
    np.testing.assert_array_equal(changed("hue_saturation", 0, gray, hue=0.5, saturation=1.0), gray)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_a_blur_is_gaussian(sigma: float) -> None:
    expected = as_pixels(functional.gaussian_blur(as_tensor(picture()), [31, 31], [sigma, sigma]))
    inner = slice(16, -16)  # away from the borders, which are continued in several ways
    result = changed("blur", 0, sigma=[sigma, sigma])
    assert np.abs(result - expected)[inner, inner].max() <= 2


def test_widths_of_blurs_fill_their_range() -> None:
    spreads = [changed("blur", seed, sigma=[0.5, 4.0]).std() for seed in range(20)]
    assert changed("blur", 0, sigma=[4.0, 4.0]).std() <= min(spreads) < max(spreads)
    assert max(spreads) <= changed("blur", 0, sigma=[0.5, 0.5]).std()
    assert len(set(spreads)) == 20


def compressed(quality: int) -> Any:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).astype(int)


def test_jpeg_is_what_a_file_of_that_quality_holds() -> None:
    np.testing.assert_array_equal(changed("jpeg", 0, quality=[40, 40]), compressed(40))
    allowed = [compressed(quality).tobytes() for quality in (60, 61, 62)]
    results = [changed("jpeg", seed, quality=[60, 62]).tobytes() for seed in range(30)]
    assert set(results) == set(allowed)


def test_a_cutout_fills_a_rectangle_of_its_area_and_ratio() -> None:
    white, ratios, areas = np.full((64, 128, 3), 255, np.uint8), [], []
    for seed in range(200):
        filled = changed("cutout", seed, white, area=[0.05, 0.3], ratio=[0.5, 2.0]) == 128
        rows, columns = np.flatnonzero(filled[..., 0].any(axis=1)), np.flatnonzero(filled[..., 0].any(axis=0))
        assert filled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert filled.sum() == 3 * len(rows) * len(columns)
        areas.append(filled.mean())
        ratios.append(len(columns) / len(rows))
    assert 0.045 < min(areas) < 0.06
    assert 0.28 < max(areas) < 0.31
    assert 0.45 < min(ratios) < 0.6
    assert 1.7 < max(ratios) < 2.2


def test_a_cutout_always_has_its_area_if_its_ratio_must_give_way() -> None:
    wide = np.full((8, 200, 3), 255, np.uint8)
    areas = [(changed("cutout", seed, wide, area=[0.3, 0.3], fill=7) == 7).mean() for seed in range(20)]
    np.testing.assert_allclose(areas, 0.3, atol=0.02)


@pytest.mark.parametrize("name", ["hue_saturation", "blur", "jpeg", "cutout", "rand_augment", "trivial_augment"])
def test_the_seed_alone_decides(name: str) -> None:
    results = [changed(name, seed).tobytes() for seed in range(8)]
    assert results == [changed(name, seed).tobytes() for seed in range(8)]
    assert len(set(results)) > 4


def test_mean_intensity_shifts_the_mean_alone() -> None:
    shifts = []
    for seed in range(30):
        difference = changed("mean_intensity", seed, marked().pixels, limit=0.1) - marked().pixels
        assert np.ptp(difference) <= 1
        shifts.append(difference.mean() / 255)
    assert -0.105 <= min(shifts) < -0.07
    assert 0.07 < max(shifts) <= 0.105


def test_contrast_keeps_the_mean() -> None:
    factors = []
    for seed in range(30):
        pixels = changed("contrast", seed, marked().pixels, limit=0.2)
        assert pixels.mean() == pytest.approx(marked().pixels.mean(), abs=1)
        factors.append((pixels.max() - pixels.min()) / 160)
    assert 0.79 <= min(factors) < 0.88
    assert 1.12 < max(factors) <= 1.21


def test_noise_is_independent_in_every_channel() -> None:
    noise = changed("noise", 1, marked().pixels, std=0.05) - marked().pixels
    correlations = np.asarray(np.corrcoef(noise.reshape(-1, 3).T))[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.1
    assert 0 < noise.std() < 0.05 * 255 * 1.1
