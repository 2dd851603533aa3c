"""The values of a mask's pixels, some rows at a time, so that memory is bounded for any size."""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.images import MAX_PIXELS

EXACT, LOSSY = ("PNG", "BMP", "GIF", "TIFF"), ("JPEG", "WEBP")
#: pixels processed at a time; as 64-bit integers in several channels they take 32 MB
PIXELS_AT_ONCE = 1_000_000


class MaskError(Exception):
    """Why a mask can't be used, and the remedy."""


def picture(root: Path, image: PurePosixPath, mask: PurePosixPath, coloured: bool) -> NDArray[Any]:
    """The pixels of a mask, after EXIF rotation; MaskError if it does not fit its image."""
    try:
        with Image.open(root / mask, formats=EXACT + LOSSY) as opened:
            _check(opened, root / image)
            upright = ImageOps.exif_transpose(opened)
            return np.asarray(upright.convert("RGB") if coloured else upright)
    except MaskError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, … for damaged bytes
        kind = "not an image that can be read" if "cannot identify" in str(error) else f"damaged image ({error})"
        raise MaskError(f"{kind}. Export it again as PNG.") from error


def _check(mask: Image.Image, image: Path) -> None:
    """Raise a MaskError, by the headers alone, for files that would be read wrongly or not at all."""
    if mask.format not in EXACT:
        raise MaskError(f"{mask.format} changes values at edges. Export the mask again as PNG.")
    if mask.width * mask.height > MAX_PIXELS:
        raise MaskError(f"{mask.width}×{mask.height} is more than {MAX_PIXELS} pixels. Scale it down.")
    if getattr(mask, "is_animated", False):
        raise MaskError("holds several frames or pages. Save the one that counts as its own file.")
    size = mask.size
    with contextlib.suppress(Exception), Image.open(image) as beside:  # its faults are reported when it is decoded
        size = beside.size
    if sorted(size) != sorted(mask.size):  # either may be rotated by EXIF
        sizes = f"{mask.width}×{mask.height} for an image of {size[0]}×{size[1]}"
        raise MaskError(f"label map of {sizes}. Export it again in the image's size.")


def levels_of(pixels: NDArray[Any], coloured: bool) -> Iterator[NDArray[np.int64]]:
    """The level or palette index of each pixel, or its colour as 0xRRGGBB, some rows at a time."""
    at_once = max(1, PIXELS_AT_ONCE // max(1, pixels.shape[1]))
    for top in range(0, len(pixels), at_once):
        rows = pixels[top : top + at_once].astype(np.int64)
        if coloured:
            yield rows @ np.array([1 << 16, 1 << 8, 1])
            continue
        if rows.ndim == 3 and rows.shape[2] > 2 and (rows[..., :1] != rows[..., 1:3]).any():
            raise MaskError("a coloured mask. Name each class's [red, green, blue] by the option `values`.")
        yield rows if rows.ndim == 2 else rows[..., 0]


def values_of(levels: NDArray[np.int64]) -> list[int]:
    """The values that occur; only the first pixel of each run is sorted, because masks have long runs."""
    flat = levels.ravel()
    run_starts = np.concatenate([[True], flat[1:] != flat[:-1]])
    return list(np.unique(flat[run_starts]).tolist())
