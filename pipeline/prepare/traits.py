"""Traits of an image: a digest, a perceptual hash, and exact sums for mean and standard deviation."""

import functools
import hashlib
import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline import images

#: longer side at which an image is digested where `max_side` says no other: earlier versions scaled larger images to
#: it, and the digest decides the split
DIGEST_SIDE = 1024
#: pixels, then sum and sum of squares of red, green, blue and luminance; integers, so that totals are exact
Moments = tuple[int, ...]
LOOK_MIN_SIDE = 32
LOOK_MIN_CONTRAST = 16


@dataclass(frozen=True, slots=True)
class Traits:
    """digest: of the pixels, which decides the split · look: perceptual hash, None where it means nothing."""

    digest: str
    look: bytes | None
    moments: Moments


def measure(image: Image.Image, digest_side: int) -> Traits:
    """The traits of an RGB image, whose digest and hash are those of a copy that is at most `digest_side` long."""
    gray = image.convert("L")
    height, width = images.bounded_size(image.height, image.width, digest_side)
    if (width, height) == image.size:
        return Traits(pixel_digest(image), look(gray), moments(image, gray))
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    return Traits(pixel_digest(small), look(small.convert("L")), moments(image, gray))


def pixel_digest(image: Image.Image) -> str:
    """sha256 of shape and pixels: equal for exact copies in any file format."""
    hasher = hashlib.sha256(repr((image.height, image.width, 3)).encode())
    hasher.update(image.tobytes())
    return hasher.hexdigest()


def look(gray: Image.Image) -> bytes | None:
    """128-bit difference hash (N. Krawetz, 2013): where a thumbnail gets brighter to the right, and downwards.

    None for images with a side under 32 pixels, and for those of low contrast, whose bits are noise.
    """
    if min(gray.size) < LOOK_MIN_SIDE:
        return None
    small = np.asarray(gray.resize((9, 9), Image.Resampling.BILINEAR))
    if int(small.max()) - int(small.min()) < LOOK_MIN_CONTRAST:
        return None
    right, down = small[:8, 1:] > small[:8, :-1], small[1:, :8] > small[:-1, :8]
    return np.packbits(np.stack([right, down])).tobytes()


def moments(image: Image.Image, gray: Image.Image) -> Moments:
    """Number of pixels, sums and sums of squares of an RGB image and its luminance."""
    counts, levels = np.array(image.histogram() + gray.histogram()).reshape(4, 256), np.arange(256)
    sums = np.stack([counts @ levels, counts @ levels**2], axis=1)
    return (gray.width * gray.height, *sums.ravel().tolist())


def mean_std(parts: Iterable[Moments]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Mean and standard deviation in 0..1 over all pixels, for luminance (`"1"`) and for RGB (`"3"`)."""
    count, *sums = functools.reduce(lambda totals, part: tuple(map(operator.add, totals, part)), parts)
    means = [total / count / 255 for total in sums[0::2]]
    deviations = [
        math.sqrt(count * squares - total * total) / count / 255
        for total, squares in zip(sums[0::2], sums[1::2], strict=True)
    ]
    return {"1": means[3:], "3": means[:3]}, {"1": deviations[3:], "3": deviations[:3]}
