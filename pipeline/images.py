"""The one way an image file becomes pixels, and pixels a file.

Pillow is the reader: it names its errors, applies EXIF, and survives bytes that kill other decoders.
An image is refused, with a remedy, rather than shown wrongly.
"""

import base64
import contextlib
import importlib.util
import io
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

#: Pillow opens the multi-picture MPO of some cameras as JPEG; the name MPO itself would be a KeyError here
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
#: whether the extra `heic` is installed, without which such images are left out, with a word
READS_HEIC = importlib.util.find_spec("pillow_heif") is not None
HEIC_REMEDY = "Install the extra that reads them, `python -m pip install 'convline[heic]'`, or convert them"
USUAL_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
SUFFIXES = frozenset(USUAL_SUFFIXES + (HEIC_SUFFIXES if READS_HEIC else ()))
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
#: modes of images whose bytes are stored as they came: others are converted by rules of Pillow's, or hide colors
KEPT_MODES = frozenset({"1", "L", "P", "RGB"})

Pixels = NDArray[np.uint8]


class ImageError(Exception):
    """Why an image can't be used, and the remedy; the caller adds the file's name."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How images are read that could be read in several ways, and else are refused.

    bits: what the values of a channel have, if these are more than 8, or `range`: each image's own smallest and largest
    over all channels become 0 and 255 · first_page: of several pages or frames the first is read.
    """

    bits: int | Literal["range"] | None = None
    first_page: bool = False


#: takes every image that some data set may take: for what is asked of headers alone
ANY = Reading("range", first_page=True)


def decode(source: Path | bytes, reading: Reading = Reading()) -> Pixels:
    """H×W×3 uint8 RGB of an image file or its bytes, upright, transparency over white; ImageError if unusable."""
    return np.asarray(open_bytes(source if isinstance(source, bytes) else read(source), reading)[0], np.uint8)


def open_bytes(data: bytes, reading: Reading = Reading()) -> tuple[Image.Image, bool]:
    """The image of which `decode` returns the pixels, and whether its bytes can be stored; else `encode` makes some."""
    if not data:
        raise ImageError("the file is empty. Fetch it again or remove it.")
    if data.lstrip()[:1] == b"<":
        raise ImageError("this looks like HTML or XML, not an image. Fetch it again or remove it.")
    try:
        with Image.open(io.BytesIO(data), formats=_formats(data)) as image:
            check(image, reading)
            _check_scans(image, data)
            kept, is_cut = image.format != "HEIF" and not _has_pages(image), _is_cut(image)
            image.load()
            kept = kept and not is_cut and image.mode in KEPT_MODES and "transparency" not in image.info
            if is_cut:
                return _upright_rgb(_deep_color(image, data, reading)), kept
            return _upright_rgb(_deep_as_gray(image, reading) if _is_deep(image) else image), kept
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {MAX_PIXELS} pixels. Scale it down.") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, … for damaged bytes
        name = kind(data)
        if name is not None and name not in FORMATS and not (name == "HEIC" and READS_HEIC):
            remedy = HEIC_REMEDY if name == "HEIC" else "Convert it to JPEG or PNG, or remove it"
            raise ImageError(f"a {name} image, which is not read. {remedy}.") from error
        what = "not an image that can be read" if "cannot identify" in str(error) else f"damaged image ({error})"
        raise ImageError(f"{what}. Export it again as PNG or JPEG, or remove it.") from error


def _formats(data: bytes) -> tuple[str, ...]:
    """The formats by which Pillow may open the bytes; that of HEIC is the extra's."""
    if not READS_HEIC or kind(data) != "HEIC":
        return FORMATS
    import pillow_heif

    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def kind(data: bytes) -> str | None:
    """The image format that a file's first bytes tell, whatever its suffix; None if they are those of no image."""
    return next((name for pattern, name in SIGNATURES if re.match(pattern, data[:HEAD_BYTES], re.DOTALL)), None)


def read(path: Path) -> bytes:
    """The bytes of an image file; ImageError if it can't be read or is too large."""
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


def check(image: Image.Image, reading: Reading = Reading()) -> None:
    """ImageError by its header alone, before pixels are made, for an image that can't be used."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}×{height} is more than {MAX_PIXELS} pixels. Scale it down.")
    if width < 1 or height < 1:
        raise ImageError("has no pixels. Remove it.")
    is_cut = _is_cut(image)
    never = image.mode == "F" or (is_cut and image.mode != "RGB")
    if never or ((is_cut or _is_deep(image)) and reading.bits is None):
        remedy = "Convert it to 8 bits" + ("" if never else ", or set the dataset's `bits: 16` (12, …)")
        raise ImageError(f"mode {image.mode} (more than 8 bits a channel) would be clipped. {remedy}.")
    if _has_pages(image) and not reading.first_page:
        remedy = "Save the one that counts as its own file, or set the dataset's `first_page: true`"
        raise ImageError(f"holds several frames or pages. {remedy}.")


def _is_deep(image: Image.Image) -> bool:
    """Whether it is gray with more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;")


def _is_cut(image: Image.Image) -> bool:
    """Whether it is in color with 16 bits a channel, of which Pillow keeps the upper 8; known before it is loaded."""
    tiles = getattr(image, "tile", ())
    layouts = (tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0] for tile in tiles)
    return not _is_deep(image) and any(";16" in str(layout) for layout in layouts)


def _has_pages(image: Image.Image) -> bool:
    """Whether there is a second page or frame; to count them would be to read them all."""
    return bool(getattr(image, "is_animated", False)) and image.format not in {"MPO", "JPEG"}


def _deep_as_gray(image: Image.Image, reading: Reading) -> Image.Image:
    """An image of more than 8 bits with 8, upright; ImageError if a value has more bits than it should."""
    return Image.fromarray(_to_8_bits(np.asarray(ImageOps.exif_transpose(image)).astype(np.int64), reading))


def _deep_color(image: Image.Image, data: bytes, reading: Reading) -> Image.Image:
    """An RGB image of 16 bits a channel with 8, turned as `image`, of which Pillow kept the upper bits.

    OpenCV reads all bits; it must agree with Pillow, which refuses damaged files, in those that both have.
    """
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    upper = np.asarray(image, np.uint8)
    if values is None or values.shape != upper.shape or not (values[..., ::-1] >> 8 == upper).all():
        raise ImageError("16 bits a channel in a form that is not read. Convert it to 8 bits, or save it as PNG.")
    scaled = Image.fromarray(_to_8_bits(values[..., ::-1].astype(np.int64), reading))
    scaled.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return scaled


def _to_8_bits(values: NDArray[np.int64], reading: Reading) -> Pixels:
    low, high = int(values.min()), int(values.max())
    if isinstance(reading.bits, int):
        if low < 0 or high >= 1 << reading.bits:
            raise ImageError(f"has values from {low} to {high}, which are not {reading.bits} bits. Correct `bits`.")
        low, high = 0, (1 << reading.bits) - 1
    span = max(1, high - low)
    return ((2 * 255 * (values - low) + span) // (2 * span)).astype(np.uint8)


def _check_scans(image: Image.Image, data: bytes) -> None:
    if image.format in {"JPEG", "MPO"} and data.count(SCAN) > MAX_SCANS:
        raise ImageError(f"a JPEG of more than {MAX_SCANS} scans. Save it anew as JPEG or PNG.")


def _upright_rgb(image: Image.Image) -> Image.Image:
    upright = image
    with contextlib.suppress(Exception):  # damaged EXIF says nothing about the pixels: take them as they are stored
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # else exif_transpose would make a copy
            upright = ImageOps.exif_transpose(image)
    if upright.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def decode_stored(data: Any, *, gray: bool = False) -> Pixels:
    """H×W×3 pixels, or H×W with `gray`, of an image that prepare stored or `encode_png` made, without checks."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return np.asarray(image.convert("L") if gray else _upright_rgb(image), np.uint8)


def blank(height: int, width: int) -> Pixels:
    """Black pixels of a size, which take no memory."""
    return np.broadcast_to(np.uint8(0), (height, width, 3))


def encode(pixels: Pixels) -> bytes:
    """The bytes at rest of H×W×3 pixels that have no file, or none that can be kept: a PNG, gray where they are."""
    gray = pixels[..., 0]
    return encode_png(gray if (pixels == gray[..., None]).all() else pixels)


def encode_png(pixels: Pixels) -> bytes:
    """PNG bytes of H×W×3 RGB or H×W grey pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # six times the speed, a tenth more bytes
    return buffer.getvalue()


def data_uri(pixels: Pixels) -> str:
    """The image as a `data:` address, for a self-contained page."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode()


def bounded(pixels: Pixels, longest: int | None) -> tuple[int, int]:
    """The image's height and width, or smaller ones in that proportion of which the longer is `longest`, if given."""
    return bounded_size(pixels.shape[0], pixels.shape[1], longest)


def bounded_size(height: int, width: int, longest: int | None) -> tuple[int, int]:
    """As `bounded`, of an image of this size."""
    scale = 1.0 if longest is None else min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def spread(number: int, most: int) -> NDArray[np.int64]:
    """Indices of at most `most` of `number` images, evenly spaced from the first to the last."""
    return np.linspace(0, number - 1, min(most, number)).astype(np.int64)


def resize(pixels: Pixels, height: int, width: int, *, smooth: bool = True) -> Pixels:
    """Scale to height×width: antialiased bilinear, or nearest for ids."""
    if pixels.shape[:2] == (height, width):
        return pixels
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize((width, height), method), np.uint8)


def nearest(old: int, new: int) -> NDArray[np.int32]:
    """Which of `old` pixels in a row each of `new` ones takes, where `resize` is not smooth."""
    columns = Image.fromarray(np.arange(old, dtype=np.int32)[None])
    return np.asarray(columns.resize((new, 1), Image.Resampling.NEAREST), np.int32)[0]


def luminance(pixels: Pixels) -> Pixels:
    """H×W grey by ITU-R 601-2 weights, as Pillow's mode L."""
    return np.asarray(Image.fromarray(pixels).convert("L"), np.uint8)


def grid(pictures: list[Pixels], columns: int, *, side: int = 96, gap: int = 4) -> Pixels:
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
