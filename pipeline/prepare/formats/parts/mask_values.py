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
#: modes of Pillow whose last channel is the opacity
WITH_ALPHA = frozenset({"RGBA", "LA", "PA"})
#: modes of Pillow with more than 8 bits, which it can't convert without loss
DEEP = ("I", "F")
COLOR_CODE = np.array([1 << 16, 1 << 8, 1])


class MaskError(Exception):
    """Why a mask can't be used, and the remedy."""


def picture(
    root: Path, image: PurePosixPath, mask: PurePosixPath, coloured: bool, threshold: float | None = None
) -> NDArray[Any]:
    """The pixels of a mask, after EXIF rotation; MaskError if it does not fit its image.

    threshold: the gray level from which a pixel is 1 and below which it is 0.
    """
    try:
        with Image.open(root / mask, formats=EXACT + LOSSY) as opened:
            _check(opened, root / image, exact=threshold is None)
            upright = ImageOps.exif_transpose(opened)
            if upright.mode in WITH_ALPHA:
                _check_alpha(np.asarray(upright))
            if threshold is not None:
                gray = upright if upright.mode.startswith(DEEP) else upright.convert("L")
                return (np.asarray(gray) >= threshold).astype(np.uint8)
            return np.asarray(upright.convert("RGB") if coloured else upright)
    except MaskError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, … for damaged bytes
        kind = "not an image that can be read" if "cannot identify" in str(error) else f"damaged image ({error})"
        raise MaskError(f"{kind}. Export it again as PNG.") from error


def _check(mask: Image.Image, image: Path, *, exact: bool) -> None:
    """Raise a MaskError, by the headers alone, for files that would be read wrongly or not at all."""
    if exact and mask.format not in EXACT:
        remedy = "Export the mask again as PNG, or set the option `threshold: 128` if it has two classes"
        raise MaskError(f"{mask.format} changes values at edges. {remedy}.")
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


def _check_alpha(pixels: NDArray[Any]) -> None:
    """Raise a MaskError if a color is both opaque and transparent: then the colors alone do not say what is where."""
    opaque: set[bytes] = set()
    transparent: set[bytes] = set()
    for rows in _some_rows(pixels):
        for alpha, colors in ((255, opaque), (0, transparent)):
            part = rows[rows[..., -1] == alpha][:, :-1]
            changes = (part[1:] != part[:-1]).any(axis=1)  # of a run, one pixel counts
            colors |= {color.tobytes() for color in np.concatenate([part[:1], np.unique(part[1:][changes], axis=0)])}
        if both := opaque & transparent:
            color = ", ".join(map(str, min(both)))
            what = f"the color [{color}] is opaque in some pixels and transparent in others"
            raise MaskError(f"{what}, so colors do not tell the classes apart. Export the mask without transparency.")


def _some_rows(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    at_once = max(1, PIXELS_AT_ONCE // max(1, pixels.shape[1]))
    for top in range(0, len(pixels), at_once):
        yield pixels[top : top + at_once]


def levels_of(pixels: NDArray[Any], coloured: bool) -> Iterator[NDArray[np.int64]]:
    """The level or palette index of each pixel, or its colour as 0xRRGGBB, some rows at a time."""
    for part in _some_rows(pixels):
        if part.dtype.kind == "f" and not (part == np.floor(part)).all():
            raise MaskError("has fractions as values. Export class ids, or set the option `threshold`.")
        rows = part.astype(np.int64)
        if coloured:
            yield rows @ COLOR_CODE
            continue
        if rows.ndim == 3 and rows.shape[2] > 2 and (rows[..., :1] != rows[..., 1:3]).any():
            raise MaskError("a coloured mask. Name each class's [red, green, blue] by the option `values`.")
        yield rows if rows.ndim == 2 else rows[..., 0]


def values_of(levels: NDArray[np.int64]) -> dict[int, int]:
    """The values that occur, with their numbers of pixels; runs are counted, because masks have long ones."""
    flat = levels.ravel()
    if not flat.size:
        return {}
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    values, inverse = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(inverse, weights=np.diff(starts, append=flat.size))
    return dict(zip(values.tolist(), counts.astype(np.int64).tolist(), strict=True))
