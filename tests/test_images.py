"""One decoder: upright RGB of whatever can be shown rightly, and a reason for the rest."""

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline import images
from tests.helpers.small_data import DATA

UPRIGHT = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


#: how to store an upright picture so that the EXIF orientation turns it back
STORED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[::-1],
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT)))
    np.testing.assert_array_equal(images.decode(encoded(stored, exif=exif)), UPRIGHT)


@pytest.mark.parametrize("format", images.FORMATS)
def test_every_format_opens_and_is_known_by_its_first_bytes(format: str) -> None:
    data = encoded(Image.new("RGB", (20, 10), (128, 128, 128)), format)
    np.testing.assert_allclose(images.decode(data), 128, atol=2)
    assert images.kind(data) == format


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1"])
def test_heic_is_named(brand: bytes) -> None:
    with pytest.raises(images.ImageError, match=r"a HEIC image.*pip install 'convline\[heic\]'.*convert"):
        images.decode(b"\0\0\0\x18ftyp" + brand + bytes(400))


@pytest.mark.parametrize("data", [b"", b"BMW, Audi", b"hello", b"RIFF....WAVE", b"\0\0\0\x18ftypmp42"])
def test_what_is_no_image_has_no_kind(data: bytes) -> None:
    assert images.kind(data) is None


def test_multi_picture_jpeg_gives_its_first() -> None:
    first, second = (Image.new("RGB", (16, 8), color) for color in ("black", "white"))
    assert images.decode(encoded(first, "MPO", save_all=True, append_images=[second])).max() < 8


def test_transparency_lies_over_white() -> None:
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[0, 0, 3], pixels[0, 1, 3] = 255, 51
    decoded = images.decode(encoded(Image.fromarray(pixels)))
    assert decoded[0, :, 0].tolist() == [0, 204, 255]
    gray = images.decode(encoded(Image.fromarray(pixels).convert("LA")))
    np.testing.assert_array_equal(gray, decoded)


def test_palettes_become_colours() -> None:
    picture = Image.new("P", (2, 2), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    assert images.decode(encoded(picture))[0, 0].tolist() == [10, 20, 30]
    assert images.decode(encoded(picture, transparency=1))[0, 0].tolist() == [255, 255, 255]


def test_cmyk_is_converted() -> None:
    picture = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = images.decode(encoded(picture, "JPEG"))[8, 8].tolist()
    assert red > 200
    assert max(green, blue) < 60


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


FRAMES = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
JPEG = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
#: where the one scan of a JPEG begins
SCAN = JPEG.index(images.SCAN)
REFUSED = {
    "empty": (b"", "empty"),
    "html": (b"\n<!DOCTYPE html><html></html>", "HTML"),
    "text": (b"hello", "not an image"),
    "cut": (JPEG[: len(JPEG) // 2], "truncated"),
    "header": (JPEG[:20], "image"),
    "16 bit": (encoded(Image.fromarray(np.full((4, 4), 9999, np.uint16))), "8 bits"),
    "float": (encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "8 bits"),
    "gif": (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "several frames"),
    "tiff": (encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "several frames"),
    "apng": (encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "several frames"),
    "scans": (JPEG[:-2] + JPEG[SCAN:-2] * 40 + JPEG[-2:], "a JPEG of more than 32 scans"),
    "95 MP": (png_header(9_746, 9_746), "more than 50000000"),
    "400 MP": (png_header(20_000, 20_000), "more than 50000000"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(images.ImageError, match=reason):
        images.decode(data)


def test_what_is_no_file_is_refused_without_hanging(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for name in ("pipe.jpg", "loop.jpg", "none.jpg", "."):
        with pytest.raises(images.ImageError, match=r"regular|opened"):
            images.decode(tmp_path / name)


#: by the beginning of a file's name; every other one is 48×32
SIDES = {"two-by-two": (2, 2), **{f"orientation-{number}": (48, 32) for number in (5, 6, 7, 8)}}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sorted((DATA / "pictures/shown").iterdir()), ids=lambda path: path.name)
def test_real_pictures_of_every_kind_are_shown(path: Path) -> None:
    pixels = images.decode(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (*SIDES.get(path.stem, (32, 48)), 3)


#: by the beginning of a file's name
REASONS = {
    "16-bit": "mode I;16",
    "bomb": "more than 50000000 pixels",
    "cut": "damaged image",
    "empty": "empty",
    "float": "mode F",
    "line-ends": "not an image",
    "page": "HTML",
    "two-frames": "several frames",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sorted((DATA / "pictures/refused").iterdir()), ids=lambda path: path.name)
def test_real_pictures_that_would_be_shown_wrongly_are_refused(path: Path) -> None:
    with pytest.raises(images.ImageError, match=REASONS[path.stem]):
        images.decode(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "tif", "webp"])
def test_cut_anywhere_a_picture_is_refused_or_shown_whole(suffix: str) -> None:
    data = (DATA / f"pictures/shown/rgb.{suffix}").read_bytes()
    for length in range(0, len(data), len(data) // 24):
        with contextlib.suppress(images.ImageError):
            assert images.decode(data[:length]).shape == (32, 48, 3)


def test_ids_are_resized_without_mixing() -> None:
    ids = np.array([[0, 7], [9, 255]], np.uint8)
    assert set(images.resize(ids, 8, 8, smooth=False).ravel().tolist()) == {0, 7, 9, 255}


def rotated(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encoded(picture, "JPEG", exif=exif)


PLAIN = Image.fromarray(UPRIGHT)
CLEAR = Image.fromarray(np.dstack([UPRIGHT, UPRIGHT[..., 0]]))
#: whether the bytes can be stored as they came
KEPT = {
    **{format: (encoded(PLAIN, format), True) for format in ("PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG")},
    "gray": (encoded(PLAIN.convert("L"), "JPEG"), True),
    "turned": (rotated(PLAIN), True),
    "bits": (encoded(PLAIN.convert("1")), True),
    "palette": (encoded(PLAIN.convert("P")), True),
    "CMYK": (encoded(PLAIN.convert("CMYK"), "JPEG"), False),
    "transparent": (encoded(CLEAR), False),
    "transparent gray": (encoded(CLEAR.convert("LA")), False),
    "transparent color": (encoded(PLAIN, transparency=(0, 3, 6)), False),
    "transparent palette": (encoded(PLAIN.convert("P"), transparency=1), False),
    "transparent WebP": (encoded(CLEAR, "WEBP", lossless=True), False),
    "Lab": (encoded(PLAIN.convert("RGB").convert("YCbCr"), "TIFF"), False),
}


@pytest.mark.parametrize("name", KEPT)
def test_bytes_are_kept_unless_colors_must_be_converted(name: str) -> None:
    data, expected = KEPT[name]
    image, kept = images.open_bytes(data)
    pixels = np.asarray(image)
    assert kept == expected
    np.testing.assert_array_equal(images.decode(data if kept else images.encode(pixels)), pixels)


DEEP = np.array([[0, 1000, 2047], [4095, 3000, 16]], np.uint16)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_more_than_8_bits_are_scaled_as_the_data_set_says(format: str) -> None:
    data = encoded(Image.fromarray(DEEP), format)
    readings = {images.Reading(12): 4095, images.Reading(16): 65535, images.Reading("range"): 4095}
    for reading, top in readings.items():
        image, kept = images.open_bytes(data, reading)
        np.testing.assert_array_equal(image, np.repeat(np.rint(DEEP * (255 / top))[..., None], 3, axis=2))
        assert not kept
    shifted, _ = images.open_bytes(encoded(Image.fromarray(DEEP + 500), format), images.Reading(bits="range"))
    np.testing.assert_array_equal(shifted, images.open_bytes(data, images.Reading(bits="range"))[0])
    with pytest.raises(images.ImageError, match=r"4095.*11 bits"):
        images.open_bytes(data, images.Reading(bits=11))
    flat = encoded(Image.fromarray(np.full((2, 2), 700, np.uint16)), format)
    assert np.asarray(images.open_bytes(flat, images.Reading(bits="range"))[0]).max() == 0


def sixteen(pixels: NDArray[np.uint16], suffix: str, *options: int) -> bytes:
    """A PNG or TIFF of 16 bits a channel; Pillow writes none in color."""
    channels = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[pixels.shape[2]]
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, channels), options)
    assert done
    return bytes(data.tobytes())


#: no two rows, columns and channels are alike, and the upper 8 bits hold nearly nothing
DEEP_COLOR = (np.arange(6 * 5 * 3).reshape(6, 5, 3) ** 2 * 17 // 35).astype(np.uint16)
COMPRESSIONS = {"none": 1, "LZW": 5, "deflate": 8}


@pytest.mark.parametrize("compression", ["PNG", *COMPRESSIONS])
def test_sixteen_bits_in_color_are_scaled_as_the_data_set_says_and_never_cut(compression: str) -> None:
    if compression == "PNG":
        data = sixteen(DEEP_COLOR, ".png")
    else:
        data = sixteen(DEEP_COLOR, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, COMPRESSIONS[compression])
    with Image.open(io.BytesIO(data)) as image:
        assert np.asarray(image).max() < 16  # what Pillow shows
    top = int(DEEP_COLOR.max())
    readings = {images.Reading(12): 4095, images.Reading(16): 65535, images.Reading("range"): top}
    for reading, largest in readings.items():
        shown, kept = images.open_bytes(data, reading)
        np.testing.assert_array_equal(shown, np.rint(DEEP_COLOR * (255 / largest)))
        assert not kept
    with pytest.raises(images.ImageError, match=r"mode RGB .*8 bits.*`bits: 16`"):
        images.decode(data)
    with pytest.raises(images.ImageError, match=f"{top}.*11 bits"):
        images.open_bytes(data, images.Reading(11))


def test_sixteen_bits_in_color_with_transparency_are_refused() -> None:
    for reading in (images.Reading(), images.Reading(16)):
        with pytest.raises(images.ImageError, match=r"mode RGBA .*8 bits"):
            images.open_bytes(sixteen(np.full((4, 4, 4), 9999, np.uint16), ".png"), reading)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_in_color_are_turned(orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](DEEP_COLOR))
    with Image.open(io.BytesIO(sixteen(stored, ".png"))) as image:
        exif = image.getexif()
    exif[274] = orientation
    text = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(text)) + b"eXIf" + text + struct.pack(">I", zlib.crc32(b"eXIf" + text))
    png = sixteen(stored, ".png")
    turned = png[:33] + chunk + png[33:]  # after the header
    np.testing.assert_array_equal(images.decode(turned, images.Reading(12)), np.rint(DEEP_COLOR * (255 / 4095)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_cut_anywhere_an_image_of_sixteen_bits_is_refused_or_whole(suffix: str) -> None:
    data = sixteen(DEEP_COLOR, suffix)
    whole = images.decode(data, images.Reading(12))
    for length in range(0, len(data), 7):
        with contextlib.suppress(images.ImageError):
            np.testing.assert_array_equal(images.decode(data[:length], images.Reading(12)), whole)


@pytest.mark.parametrize("name", ["gif", "tiff", "apng"])
def test_the_first_page_is_read_where_the_data_set_says_so(name: str) -> None:
    image, kept = images.open_bytes(REFUSED[name][0], images.Reading(first_page=True))
    assert np.asarray(image)[0, 0].tolist() == [255, 0, 0]
    assert not kept


def test_stored_png_round_trip() -> None:
    np.testing.assert_array_equal(images.decode_stored(images.encode_png(UPRIGHT)), UPRIGHT)
    gray = UPRIGHT[..., 0]
    np.testing.assert_array_equal(images.decode_stored(images.encode_png(gray), gray=True), gray)
