"""The one way an image file becomes pixels, and pixels a file.

Pillow is the reader: it names its errors, applies EXIF, and survives bytes that kill other decoders.
An image is refused, with a remedy, rather than shown wrongly.
"""

import base64
import contextlib
import io
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

#: Pillow opens the multi-picture MPO of some cameras as JPEG; the name MPO itself would be a KeyError here
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
#: how files of image formats begin; those that are not in FORMATS are named, not read
SIGNATURES = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "BMP"),
    (rb"II\*\0|MM\0\*", "TIFF"),
    (rb"RIFF.{4}WEBP", "WEBP"),
    (rb".{4}ftypavi[fs]", "AVIF"),
    (rb".{4}ftyp(?:he[iv][cmsx]|mif1|msf1)", "HEIC"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"8BPS\0", "Photoshop"),
)
#: bytes of a file that tell its format
HEAD_BYTES = 32
#: of one image: a photograph has less, but for the largest sensors; decoded it takes 150 MB, and a second
MAX_PIXELS = 50_000_000
#: of one file: three times what so many pixels take where nothing packs them
MAX_BYTES = 500_000_000
#: passes over its pixels that a JPEG may ask for, each of which takes time: Pillow's progressive ones have ten
MAX_SCANS = 32
SCAN = b"\xff\xda"


class ImageError(Exception):
    """Why an image can't be used, and the remedy; the caller adds the file's name."""


def decode(source: Path | bytes) -> NDArray[np.uint8]:
    """H×W×3 uint8 RGB of an image file or its bytes, upright, transparency over white; ImageError if unusable."""
    data = source if isinstance(source, bytes) else _read(source)
    if not data:
        raise ImageError("the file is empty. Fetch it again or remove it.")
    if data.lstrip()[:1] == b"<":
        raise ImageError("this looks like HTML or XML, not an image. Fetch it again or remove it.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check(image)
            _check_scans(image, data)
            image.load()
            return _upright_rgb(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {MAX_PIXELS} pixels. Scale it down.") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, … for damaged bytes
        name = kind(data)
        if name is not None and name not in FORMATS:
            raise ImageError(f"a {name} image, which is not read. Convert it to JPEG or PNG, or remove it.") from error
        what = "not an image that can be read" if "cannot identify" in str(error) else f"damaged image ({error})"
        raise ImageError(f"{what}. Export it again as PNG or JPEG, or remove it.") from error


def kind(data: bytes) -> str | None:
    """The image format that a file's first bytes tell, whatever its suffix; None if they are those of no image."""
    return next((name for pattern, name in SIGNATURES if re.match(pattern, data[:HEAD_BYTES], re.DOTALL)), None)


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
    except OSError as error:
        raise ImageError(f"can't be opened ({error.strerror}). Restore the file or remove its entry.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not a regular file. Replace it by an image file.")
    if status.st_size > MAX_BYTES:
        raise ImageError(f"{status.st_size} bytes, more than {MAX_BYTES}. Scale it down.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"can't be read ({error.strerror}). Check its permissions.") from error


def check(image: Image.Image) -> None:
    """ImageError by its header alone, before pixels are made, for an image that can't be used."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}×{height} is more than {MAX_PIXELS} pixels. Scale it down.")
    if width < 1 or height < 1:
        raise ImageError("has no pixels. Remove it.")
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        raise ImageError(f"mode {image.mode} (more than 8 bits a channel) would be clipped. Convert it to 8 bits.")
    # is there a second one? To count them would be to read them all
    if getattr(image, "is_animated", False) and image.format not in {"MPO", "JPEG"}:
        raise ImageError("holds several frames or pages. Save the one that counts as its own file.")


def _check_scans(image: Image.Image, data: bytes) -> None:
    if image.format in {"JPEG", "MPO"} and data.count(SCAN) > MAX_SCANS:
        raise ImageError(f"a JPEG of more than {MAX_SCANS} scans. Save it anew as JPEG or PNG.")


def _upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    upright = image
    with contextlib.suppress(Exception):  # damaged EXIF says nothing about the pixels: take them as they are stored
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # else exif_transpose would make a copy
            upright = ImageOps.exif_transpose(image)
    if upright.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"), np.uint8)


def decode_stored(data: Any, *, gray: bool = False) -> NDArray[np.uint8]:
    """Pixels of a PNG that `encode_png` made: H×W×3, or H×W with `grey`."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.asarray(image.convert("L" if gray else "RGB"), np.uint8)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """PNG bytes of H×W×3 RGB or H×W grey pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # six times the speed, a tenth more bytes
    return buffer.getvalue()


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """The image as a `data:` address, for a self-contained page."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode()


def bounded(pixels: NDArray[np.uint8], longest: int) -> tuple[int, int]:
    """The image's height and width, or smaller ones in that proportion of which the longer is `longest`."""
    height, width = pixels.shape[:2]
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def spread(number: int, most: int) -> NDArray[np.int64]:
    """Indices of at most `most` of `number` images, evenly spaced from the first to the last."""
    return np.linspace(0, number - 1, min(most, number)).astype(np.int64)


def resize(pixels: NDArray[np.uint8], height: int, width: int, *, smooth: bool = True) -> NDArray[np.uint8]:
    """Scale to height×width: antialiased bilinear, or nearest for ids."""
    if pixels.shape[:2] == (height, width):
        return pixels
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize((width, height), method), np.uint8)


def nearest(old: int, new: int) -> NDArray[np.int32]:
    """Which of `old` pixels in a row each of `new` ones takes, where `resize` is not smooth."""
    columns = Image.fromarray(np.arange(old, dtype=np.int32)[None])
    return np.asarray(columns.resize((new, 1), Image.Resampling.NEAREST), np.int32)[0]


def luminance(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W grey by ITU-R 601-2 weights, as Pillow's mode L."""
    return np.asarray(Image.fromarray(pixels).convert("L"), np.uint8)


def grid(pictures: list[NDArray[np.uint8]], columns: int, *, side: int = 96, gap: int = 4) -> NDArray[np.uint8]:
    """Pictures as a sheet of side×side tiles on white."""
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (side + gap) + gap, columns * (side + gap) + gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        scale = side / max(height, width)
        tile = resize(picture, max(1, round(height * scale)), max(1, round(width * scale)), smooth=scale < 1)
        top = gap + number // columns * (side + gap) + (side - tile.shape[0]) // 2
        left = gap + number % columns * (side + gap) + (side - tile.shape[1]) // 2
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet
