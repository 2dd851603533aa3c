"""Distances to a mask are exact: the root of a whole number, as scipy's transform gives it."""

import numpy as np
import pytest
from scipy import ndimage  # type: ignore[import-untyped]

from pipeline.geometry import distances


@pytest.mark.parametrize("shape", [(60, 70), (61, 77), (128, 128), (33, 501), (1, 9)])
def test_each_distance_is_correctly_rounded(shape: tuple[int, int]) -> None:
    """Each of OpenCV's own is within 1e-6 of it, and hundreds of the first shape's are not equal."""
    generator = np.random.default_rng(0)
    for fraction in (0.02, 0.0005):
        mask = generator.random(shape) < fraction
        mask[0, 0] = True
        expected = ndimage.distance_transform_edt(~mask).astype(np.float32)
        np.testing.assert_array_equal(distances.to_mask(mask), expected)
