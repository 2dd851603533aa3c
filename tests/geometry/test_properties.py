"""Properties of masks and images: what is packed is unpacked, and no bytes are more than an error with a reason."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from pipeline import images
from pipeline.geometry import boxes, rle
from tests.helpers.strategies import damaged, few

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24))
RLES = st.one_of(
    st.binary(max_size=20), st.binary(max_size=20).map(lambda data: bytes(48 + byte % 64 for byte in data))
)


@few
@given(MASKS)
def test_a_mask_is_unpacked_as_it_was_packed(mask: NDArray[np.bool_]) -> None:
    packed = rle.encode(mask)
    np.testing.assert_array_equal(rle.decode(packed, *mask.shape), mask)
    assert rle.area(packed, mask.shape) == mask.sum()
    assert rle.resize(packed, mask.shape, mask.shape) == packed
    if mask.any():
        assert rle.iou([packed], [packed]).tolist() == [[1]]


@few
@given(MASKS, st.data())
def test_runs_may_be_empty_and_mean_the_same(mask: NDArray[np.bool_], data: st.DataObject) -> None:
    flat = mask.T.ravel()
    runs: list[int] = [0]
    for value in flat.tolist():
        if value != len(runs) % 2 - 1 and not (value and len(runs) % 2 == 0):
            runs.append(0)
        runs[-1] += 1
    place = data.draw(st.integers(0, len(runs)))
    longer = [*runs[:place], 0, 0, *runs[place:]]
    assert rle.encode_counts(longer, *mask.shape) == rle.encode(mask)


@few
@given(MASKS, MASKS)
def test_overlaps_of_masks_are_those_of_their_pixels(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> None:
    height, width = np.minimum(first.shape, second.shape).tolist()
    a, b = first[:height, :width], second[:height, :width]
    union = (a | b).sum()
    overlap = rle.iou([rle.encode(a)], [rle.encode(b)])[0, 0]
    assert overlap == pytest.approx((a & b).sum() / union if union else 0)


@few
@given(RLES, st.integers(1, 30), st.integers(1, 30))
def test_bytes_are_a_mask_or_a_reason(packed: bytes, height: int, width: int) -> None:
    try:
        mask = rle.decode(packed, height, width)
    except ValueError:
        return
    assert mask.shape == (height, width)
    np.testing.assert_array_equal(rle.decode(rle.encode(mask), height, width), mask)


CORNERS = st.lists(st.floats(-40, 60, allow_nan=False), min_size=6, max_size=16).filter(lambda row: len(row) % 2 == 0)


@few
@given(CORNERS, st.integers(1, 20), st.integers(1, 20))
def test_a_polygon_stays_in_its_image_or_is_refused(polygon: list[float], height: int, width: int) -> None:
    with contextlib.suppress(ValueError):
        packed = rle.encode_polygons([polygon], height, width)
        assert rle.area(packed, (height, width)) == rle.from_polygons([polygon], height, width).sum()


@few
@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.just(4)), elements=st.floats(-99, 99, width=32)))
def test_a_clipped_box_lies_in_the_image(corners: NDArray[np.float32]) -> None:
    clipped = boxes.clip(corners, 20, 30)
    assert (clipped >= 0).all()
    assert (clipped <= [30, 20, 30, 20]).all()
    np.testing.assert_array_equal(boxes.clip(clipped, 20, 30), clipped)


def encoded(format: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", images.FORMATS)
def test_damaged_images_are_pixels_or_a_reason(format: str) -> None:
    data = encoded(format)

    @few
    @given(damaged(data))
    def decode_damaged(changed: bytes) -> None:
        try:
            pixels = images.decode(changed)
        except images.ImageError:
            return
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3

    decode_damaged()
