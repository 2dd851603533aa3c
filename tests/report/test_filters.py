"""The report's filters against scipy, torch and hand-worked sums; what its lessons say is so."""

import numpy as np
import pytest
import torch
from scipy import ndimage, signal  # type: ignore[import-untyped]
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from pipeline import images
from pipeline.report import _filters
from pipeline.report._filters import Map, convolution, correlation
from pipeline.report.sections import filters

X = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
W = np.array([[1.0, 2], [0, -1]])


def drawn(*shape: int) -> Map:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def batch(values: Map) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))[None, None]


def test_three_by_three_by_hand() -> None:
    # 1·1 + 2·2 − 5 = 0, 2·1 + 3·2 − 6 = 2, 4 + 10 − 8 = 6, 5 + 12 − 9 = 8; turned: −1·1 + 2·4 + 5 = 12 and so on
    np.testing.assert_array_equal(correlation(W, X), [[0, 2], [6, 8]])
    np.testing.assert_array_equal(convolution(W, X), [[12, 14], [18, 20]])
    np.testing.assert_array_equal(_filters.bed_of_nails(W, 2), [[1, 0, 2], [0, 0, 0], [0, 0, -1]])
    np.testing.assert_array_equal(_filters.transposed_convolution(W, W, 1), [[1, 4, 4], [0, -2, -4], [0, 0, 1]])
    np.testing.assert_array_equal(_filters.global_average(np.stack([X, X - 5])), [5, 0])


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (7, 7)])
def test_both_are_those_of_scipy_and_torch(shape: tuple[int, int]) -> None:
    kernel, image = drawn(*shape), drawn(16, 20)
    for mine, theirs, around in (
        (correlation, signal.correlate2d, ndimage.correlate),
        (convolution, signal.convolve2d, ndimage.convolve),
    ):
        np.testing.assert_allclose(mine(kernel, image), theirs(image, kernel, "valid"), atol=1e-12)
        full = mine(kernel, image, full=True)
        np.testing.assert_allclose(full, theirs(image, kernel, "full"), atol=1e-12)
        rows, columns = shape[0] // 2, shape[1] // 2
        np.testing.assert_allclose(
            full[rows : full.shape[0] - rows, columns : full.shape[1] - columns],
            around(image, kernel, mode="constant"),
            atol=1e-12,
        )
    np.testing.assert_allclose(correlation(kernel, image), F.conv2d(batch(image), batch(kernel))[0, 0], atol=1e-12)
    assert np.abs(correlation(kernel, image) - convolution(kernel, image)).max() > 0.1


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [2, 3, 4])
def test_transposed_convolution_is_convolution_of_the_bed_of_nails(side: int, stride: int) -> None:
    kernel, image = drawn(side, side), drawn(5, 7)
    found = _filters.transposed_convolution(kernel, image, stride)
    expected = F.conv_transpose2d(batch(image), batch(kernel), stride=stride)[0, 0]
    nails = _filters.bed_of_nails(image, stride)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(convolution(kernel, nails, full=True), expected, atol=1e-12)
    assert np.abs(correlation(kernel, nails, full=True) - found).max() > 0.1


def test_convolution_is_associative_and_correlation_is_not() -> None:
    f, g, x = drawn(3, 3), drawn(3, 4), drawn(12, 14)
    np.testing.assert_allclose(convolution(convolution(f, g, full=True), x), convolution(f, convolution(g, x)))
    assert np.abs(correlation(correlation(f, g, full=True), x) - correlation(f, correlation(g, x))).max() > 0.1


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_gaussian_is_that_of_scipy(sigma: float) -> None:
    kernel, image = _filters.gaussian(sigma), drawn(40, 40)
    reach = kernel.shape[0] // 2
    inside = ndimage.gaussian_filter(image, sigma, truncate=3)[reach : 40 - reach, reach : 40 - reach]
    np.testing.assert_allclose(convolution(kernel, image), inside, atol=1e-12)
    assert kernel.sum() == pytest.approx(1)
    box = ndimage.uniform_filter(image, 5)[2:38, 2:38]
    np.testing.assert_allclose(convolution(_filters.box(5), image), box, atol=1e-12)


def test_global_average_pooling_is_that_of_torch() -> None:
    maps = drawn(4, 9, 6)
    expected = F.adaptive_avg_pool2d(torch.from_numpy(maps), 1).flatten()
    np.testing.assert_allclose(_filters.global_average(maps), expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [_filters.box(3), _filters.box(7), _filters.gaussian(1.5)])
def test_of_independent_noise_the_root_of_the_squared_weights_is_left(kernel: Map) -> None:
    noise = np.random.default_rng(0).normal(size=(400, 400))
    assert convolution(kernel, noise).std() == pytest.approx(np.sqrt((kernel**2).sum()), rel=0.05)
    shared = np.ones((20, 20))
    assert convolution(kernel, shared).std() == pytest.approx(0, abs=1e-12)


def test_the_photograph_is_scikit_learns() -> None:
    expected = images.luminance(load_sample_image("china.jpg")) / 255.0
    piece = expected[filters.TOP : filters.TOP + filters.SIDE, filters.LEFT : filters.LEFT + filters.SIDE]
    np.testing.assert_array_equal(filters.photograph(), piece)


def test_what_the_lessons_say_of_smoothing_is_so() -> None:
    """Some smoothing brings the noisy photograph nearer to the clean one, and too much takes it away again."""
    rows = filters.smoothed(filters.photograph())
    error = {name: values[-1] for name, *values in rows}
    assert error["Gaussian σ = 1"] < error["none"]
    assert error["Gaussian σ = 1"] < error["Gaussian σ = 2"]
    for _, expected, measured, lost, _ in rows:
        assert measured == pytest.approx(expected, rel=0.06)
        assert lost >= 0


def test_what_the_lessons_compare_comes_out_as_they_say() -> None:
    photograph = filters.photograph()
    assert [filters.apart(one, two) < 1e-12 for _, one, two in filters.turned(photograph)] == [True, False, False, True]
    assert all(filters.apart(one, two) < 1e-12 for _, one, two in filters.averaged(photograph))
    for _, laid, nailed, counts in filters.laid_down(photograph):
        assert filters.apart(laid, nailed) < 1e-12
        assert counts in ([1, 2, 4], [4])
