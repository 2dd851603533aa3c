"""The report's filters against scipy, torch and sums by hand; the statements of its lessons are true."""

import numpy as np
import pytest
import torch
from scipy import ndimage, signal  # type: ignore[import-untyped]
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from pipeline import images
from pipeline.report import _filters
from pipeline.report._filters import Array, convolve, correlate
from pipeline.report.sections import filters

X = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
W = np.array([[1.0, 2], [0, -1]])


def random_array(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def batch(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))[None, None]


def test_three_by_three_by_hand() -> None:
    # 1·1 + 2·2 − 5 = 0, 2·1 + 3·2 − 6 = 2, 4 + 10 − 8 = 6, 5 + 12 − 9 = 8; rotated: −1·1 + 2·4 + 5 = 12 and so on
    np.testing.assert_array_equal(correlate(W, X), [[0, 2], [6, 8]])
    np.testing.assert_array_equal(convolve(W, X), [[12, 14], [18, 20]])
    np.testing.assert_array_equal(_filters.bed_of_nails(W, 2), [[1, 0, 2], [0, 0, 0], [0, 0, -1]])
    np.testing.assert_array_equal(_filters.transposed_convolve(W, W, 1), [[1, 4, 4], [0, -2, -4], [0, 0, 1]])
    np.testing.assert_array_equal(_filters.global_average(np.stack([X, X - 5])), [5, 0])


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (7, 7)])
def test_both_equal_scipy_and_torch(shape: tuple[int, int]) -> None:
    kernel, image = random_array(*shape), random_array(16, 20)
    for ours, theirs, padded in (
        (correlate, signal.correlate2d, ndimage.correlate),
        (convolve, signal.convolve2d, ndimage.convolve),
    ):
        np.testing.assert_allclose(ours(kernel, image), theirs(image, kernel, "valid"), atol=1e-12)
        full = ours(kernel, image, full=True)
        np.testing.assert_allclose(full, theirs(image, kernel, "full"), atol=1e-12)
        rows, columns = shape[0] // 2, shape[1] // 2
        np.testing.assert_allclose(
            full[rows : full.shape[0] - rows, columns : full.shape[1] - columns],
            padded(image, kernel, mode="constant"),
            atol=1e-12,
        )
    np.testing.assert_allclose(correlate(kernel, image), F.conv2d(batch(image), batch(kernel))[0, 0], atol=1e-12)
    assert np.abs(correlate(kernel, image) - convolve(kernel, image)).max() > 0.1


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [2, 3, 4])
def test_transposed_convolution_is_convolution_after_unpooling(side: int, stride: int) -> None:
    kernel, image = random_array(side, side), random_array(5, 7)
    result = _filters.transposed_convolve(kernel, image, stride)
    expected = F.conv_transpose2d(batch(image), batch(kernel), stride=stride)[0, 0]
    unpooled = _filters.bed_of_nails(image, stride)
    np.testing.assert_allclose(result, expected, atol=1e-12)
    np.testing.assert_allclose(convolve(kernel, unpooled, full=True), expected, atol=1e-12)
    assert np.abs(correlate(kernel, unpooled, full=True) - result).max() > 0.1


def test_convolution_is_associative_and_correlation_is_not() -> None:
    f, g, x = random_array(3, 3), random_array(3, 4), random_array(12, 14)
    np.testing.assert_allclose(convolve(convolve(f, g, full=True), x), convolve(f, convolve(g, x)))
    assert np.abs(correlate(correlate(f, g, full=True), x) - correlate(f, correlate(g, x))).max() > 0.1


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_gaussian_equals_scipys(sigma: float) -> None:
    kernel, image = _filters.gaussian(sigma), random_array(40, 40)
    radius = kernel.shape[0] // 2
    inside = ndimage.gaussian_filter(image, sigma, truncate=3)[radius : 40 - radius, radius : 40 - radius]
    np.testing.assert_allclose(convolve(kernel, image), inside, atol=1e-12)
    assert kernel.sum() == pytest.approx(1)
    box = ndimage.uniform_filter(image, 5)[2:38, 2:38]
    np.testing.assert_allclose(convolve(_filters.box(5), image), box, atol=1e-12)


def test_global_average_pooling_equals_torchs() -> None:
    maps = random_array(4, 9, 6)
    expected = F.adaptive_avg_pool2d(torch.from_numpy(maps), 1).flatten()
    np.testing.assert_allclose(_filters.global_average(maps), expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [_filters.box(3), _filters.box(7), _filters.gaussian(1.5)])
def test_smoothing_scales_independent_noise_by_the_root_of_the_squared_weights(kernel: Array) -> None:
    noise = np.random.default_rng(0).normal(size=(400, 400))
    assert convolve(kernel, noise).std() == pytest.approx(np.sqrt((kernel**2).sum()), rel=0.05)
    constant = np.ones((20, 20))
    assert convolve(kernel, constant).std() == pytest.approx(0, abs=1e-12)


def test_the_photograph_is_scikit_learns() -> None:
    expected = images.luminance(load_sample_image("china.jpg")) / 255.0
    square = expected[filters.TOP : filters.TOP + filters.SIDE, filters.LEFT : filters.LEFT + filters.SIDE]
    np.testing.assert_array_equal(filters.photograph(), square)


def test_the_lesson_on_smoothing_is_true() -> None:
    """Some smoothing brings the noisy photograph closer to the clean one, and too much moves it away again."""
    rows = filters.measure_smoothing(filters.photograph())
    error = {name: values[-1] for name, *values in rows}
    assert error["Gaussian σ = 1"] < error["none"]
    assert error["Gaussian σ = 1"] < error["Gaussian σ = 2"]
    for _, expected, measured, lost, _ in rows:
        assert measured == pytest.approx(expected, rel=0.06)
        assert lost >= 0


def test_the_comparisons_of_the_lessons_are_true() -> None:
    photograph = filters.photograph()
    comparisons = filters.compare_correlation_and_convolution(photograph)
    equal = [filters.max_difference(first, second) < 1e-12 for _, first, second in comparisons]
    assert equal == [True, False, False, True]
    comparisons = filters.compare_global_average(photograph)
    assert all(filters.max_difference(first, second) < 1e-12 for _, first, second in comparisons)
    for _, transposed, unpooled, counts in filters.compare_transposed_convolution(photograph):
        assert filters.max_difference(transposed, unpooled) < 1e-12
        assert counts in ([1, 2, 4], [4])
