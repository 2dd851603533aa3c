"""What the pixels of a drawn mask say, whatever its size: some rows at a time, so that memory has a bound."""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.images import MAX_PIXELS

EXACT, LOSSY = ("PNG", "BMP", "GIF", "TIFF"), ("JPEG", "WEBP")
#: that are looked at together; as numbers of 64 bits in several channels they take 32 MB
PIXELS_AT_ONCE = 1_000_000


class MaskError(Exception):
    """Why a mask can't be used, and the remedy."""


def picture(root: Path, image: PurePosixPath, mask: PurePosixPath, coloured: bool) -> NDArray[Any]:
    """A mask as it was drawn, upright as its image is; MaskError where it can't be one of that image."""
    try:
        with Image.open(root / mask, formats=EXACT + LOSSY) as drawn:
            _check(drawn, root / image)
            upright = ImageOps.exif_transpose(drawn)
            return np.asarray(upright.convert("RGB") if coloured else upright)
    except MaskError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, … for damaged bytes
        kind = "not an image that can be read" if "cannot identify" in str(error) else f"damaged image ({error})"
        raise MaskError(f"{kind}. Export it again as PNG.") from error


def _check(drawn: Image.Image, image: Path) -> None:
    """Refuse by the headers what would be read wrongly, or not at all."""
    if drawn.format not in EXACT:
        raise MaskError(f"{drawn.format} changes values at edges. Export the mask again as PNG.")
    if drawn.width * drawn.height > MAX_PIXELS:
        raise MaskError(f"{drawn.width}×{drawn.height} is more than {MAX_PIXELS} pixels. Scale it down.")
    if getattr(drawn, "is_animated", False):
        raise MaskError("holds several frames or pages. Save the one that counts as its own file.")
    size = drawn.size
    with contextlib.suppress(Exception), Image.open(image) as beside:  # what is wrong with it is told in its turn
        size = beside.size
    if sorted(size) != sorted(drawn.size):  # either may be turned
        told = f"{drawn.width}×{drawn.height} for an image of {size[0]}×{size[1]}"
        raise MaskError(f"label map of {told}. Export it again in the image's size.")


def levels_of(drawn: NDArray[Any], coloured: bool) -> Iterator[NDArray[np.int64]]:
    """What each pixel of some rows says: its level or palette index, or its colour as 0xRRGGBB."""
    at_once = max(1, PIXELS_AT_ONCE // max(1, drawn.shape[1]))
    for top in range(0, len(drawn), at_once):
        rows = drawn[top : top + at_once].astype(np.int64)
        if coloured:
            yield rows @ np.array([1 << 16, 1 << 8, 1])
            continue
        if rows.ndim == 3 and rows.shape[2] > 2 and (rows[..., :1] != rows[..., 1:3]).any():
            raise MaskError("a coloured mask. Name each class's [red, green, blue] by the option `values`.")
        yield rows if rows.ndim == 2 else rows[..., 0]


def values_of(levels: NDArray[np.int64]) -> list[int]:
    """The values that occur, found where they begin: a mask has long runs, so these are few to sort."""
    flat = levels.ravel()
    begins = np.concatenate([[True], flat[1:] != flat[:-1]])
    return list(np.unique(flat[begins]).tolist())
