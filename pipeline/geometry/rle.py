"""Instance masks as COCO's compressed run-length encoding (RLE), bit for bit what pycocotools reads and writes.

Source: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c (the counts string and the rasteriser).
A mask is read column after column; its runs alternate between 0 and 1, beginning with 0. From the fourth on, a run
is stored as the difference to the run two before it, in groups of 5 bits, low ones first; a group becomes a
character by adding 48, and 32 more if another group follows. The string has no size: the caller passes it.
Invalid strings raise a ValueError with the reason.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline import images

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
#: maximum number of 5-bit groups per run: more than any image needs, and within 64 bits
MAX_GROUPS = 7
#: steps of the rasteriser's grid per pixel side
STEPS = 5
#: maximum number of steps along the contour of a polygon (800,000 pixels); each takes 80 bytes
MAX_STEPS = 4_000_000


def encode(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> bytes:
    """The RLE of an H×W mask; all values except 0 belong to it."""
    if mask.ndim != 2:
        raise ValueError(f"a mask must be H×W, but this one has shape {mask.shape}")
    flat = np.ravel(mask.T != 0)
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], turns, [flat.size]]))
    return _pack(np.concatenate([[0], counts]) if flat.size and flat[0] else counts)


def decode(rle: bytes, height: int, width: int) -> Mask:
    """The H×W mask of an RLE."""
    return _paint_runs(_unpack(rle), height, width)


def from_counts(counts: Sequence[int], height: int, width: int) -> Mask:
    """The H×W mask of an uncompressed RLE (a list of runs)."""
    return decode(encode_counts(counts, height, width), height, width)


def encode_counts(counts: Sequence[int], height: int, width: int) -> bytes:
    """The RLE of an uncompressed one (a list of runs, some of which may be 0)."""
    if not all(isinstance(count, int) and 0 <= count <= height * width for count in counts):
        raise ValueError("a run is not an integer from 0 to the mask's number of pixels")
    runs = np.asarray(counts, np.int64)
    _check(runs, height, width)
    bounds, repeats = np.unique(np.cumsum(runs)[:-1], return_counts=True)
    turns = bounds[(repeats % 2 == 1) & (bounds < height * width)]
    return _pack(np.diff(turns, prepend=0, append=height * width))


def from_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """The H×W mask of the union of polygons, rasterised as by `encode_polygons`."""
    return decode(encode_polygons(polygons, height, width), height, width)


def encode_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> bytes:
    """The RLE of the union of polygons `[x, y, x, y, …]`, in pixels from the image's corner.

    Rasterised as by pycocotools: corners are rounded to fifths of a pixel, and a column is filled between the crossings
    of the contour with its middle; a polygon that crosses itself leaves a hole. Pillow and OpenCV also fill the pixels
    that a contour touches: 3,000 contours of mushrooms get 4 and 6 % larger (median; IoU 0.95, 0.93).
    """
    crossings, steps = [], []
    for number, polygon in enumerate(polygons):
        corners = np.asarray(polygon, np.float64)
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2:
            raise ValueError(f"polygon {number} has {corners.size} numbers, but needs at least three pairs")
        corners = corners.reshape(-1, 2)
        if not (np.abs(corners - [width / 2, height / 2]) <= [2 * width, 2 * height]).all():
            raise ValueError(f"polygon {number} has a corner that is not finite or far outside the image")
        crossings.append(_crossings(*_contour(corners), height, width))
        steps.append(np.where(np.arange(len(crossings[-1])) % 2, -1, 1))
    if not crossings:
        return encode(np.zeros((height, width), np.bool_))
    turns, which = np.unique(np.concatenate(crossings), return_inverse=True)
    inside = np.cumsum(np.bincount(which, np.concatenate(steps))) > 0
    turns = turns[(inside != np.concatenate([[False], inside[:-1]])) & (turns < height * width)]
    return _pack(np.diff(turns, prepend=0, append=height * width))


def resize(rle: bytes, size: tuple[int, int], new: tuple[int, int]) -> bytes:
    """The RLE of a mask scaled from height×width `size` to `new`, by nearest neighbour, like a label map."""
    counts = _unpack(rle)
    _check(counts, *size)
    rows, columns = map(images.nearest, size, new)
    run = np.searchsorted(np.cumsum(counts), columns[:, None].astype(np.int64) * size[0] + rows, side="right")
    return encode((run % 2 == 1).T)


def area(rle: bytes, size: tuple[int, int] | None = None) -> int:
    """Pixels of the mask; with height×width `size`, ValueError if its runs do not cover exactly that."""
    counts = _unpack(rle)
    if size is not None:
        _check(counts, *size)
    return int(counts[1::2].sum())


def iou(a: Sequence[bytes], b: Sequence[bytes], crowd: Sequence[bool] | Mask | None = None) -> NDArray[np.float64]:
    """N×M intersection over union of masks; for columns where `b` is a crowd, intersection over the area of `a`.

    All masks must have one size. No mask is decoded: the area of a mask of `b` before a pixel is a piecewise linear
    function, and its increase over the runs of a mask of `a` is the intersection.
    """
    runs = [_edges(rle) for rle in a]
    sizes = np.array([sum(ends - starts) for starts, ends, _ in runs], np.float64)
    spans = np.array([(starts[0], ends[-1]) if len(starts) else (0, 0) for starts, ends, _ in runs]).reshape(-1, 2)
    result = np.zeros((len(a), len(b)))
    totals = {total for *_, total in runs}
    for column, rle in enumerate(b):
        starts, ends, total = _edges(rle)
        if totals - {total}:
            raise ValueError(f"masks of {total} and {(totals - {total}).pop()} pixels can't be compared")
        if not len(starts):
            continue
        near = np.flatnonzero((spans[:, 0] < ends[-1]) & (spans[:, 1] > starts[0]))
        if not len(near):
            continue
        bounds = np.stack([starts, ends], 1).ravel()
        before = np.cumsum(np.stack([np.zeros_like(starts), ends - starts], 1).ravel())
        wanted = [np.concatenate([runs[row][1] for row in near]), np.concatenate([runs[row][0] for row in near])]
        rise = np.interp(wanted[0], bounds, before) - np.interp(wanted[1], bounds, before)
        firsts = np.cumsum([0] + [len(runs[row][0]) for row in near[:-1]])
        intersection = np.add.reduceat(rise, firsts)
        rest = 0.0 if crowd is not None and crowd[column] else before[-1] - intersection
        result[near, column] = intersection / (sizes[near] + rest)
    return result


def _edges(rle: bytes) -> tuple[Counts, Counts, int]:
    """Starts and ends of the non-empty runs of 1, and the mask's number of pixels."""
    bounds = np.cumsum(_unpack(rle))
    ends = bounds[1::2]
    starts = bounds[0::2][: len(ends)]
    return starts[ends > starts], ends[ends > starts], int(bounds[-1])


def _check(counts: Counts, height: int, width: int) -> None:
    if counts.sum() != height * width:
        raise ValueError(f"the runs cover {counts.sum()} pixels, not {width}×{height} = {width * height}")


def _paint_runs(counts: Counts, height: int, width: int) -> Mask:
    _check(counts, height, width)
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def _pack(counts: Counts) -> bytes:
    values = counts.copy()
    values[3:] -= counts[1:-2]
    unfinished = np.ones(len(values), np.bool_)
    characters, used = [], []
    while unfinished.any():
        groups = values & 31
        values >>= 5
        more = values != np.where(groups & 16, -1, 0)
        characters.append(groups + 32 * more + 48)
        used.append(unfinished)
        unfinished = unfinished & more
    return np.stack(characters, 1)[np.stack(used, 1)].astype(np.uint8).tobytes()


def _unpack(rle: bytes) -> Counts:
    groups = np.frombuffer(rle, np.uint8).astype(np.int64) - 48
    if not len(groups):
        raise ValueError("an empty RLE")
    if groups.min() < 0 or groups.max() > 63:
        index = int(np.argmax((groups < 0) | (groups > 63)))
        raise ValueError(f"character {index} of the RLE, {rle[index : index + 1]!r}, is not valid in COCO's encoding")
    ends = np.flatnonzero(groups < 32)
    if not len(ends) or ends[-1] != len(groups) - 1:
        raise ValueError("the RLE ends within a number")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_GROUPS:
        raise ValueError(f"a number in the RLE has more than {MAX_GROUPS} characters")
    shifts = 5 * (np.arange(len(groups)) - np.repeat(starts, lengths))
    values = np.add.reduceat((groups & 31) << shifts, starts)
    values -= np.where(groups[ends] & 16, 1 << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])  # the first run is stored as it is
    if values.min() < 0:
        raise ValueError(f"run {int(np.argmax(values < 0))} of the RLE is negative")
    return values


def _contour(corners: NDArray[np.float64]) -> tuple[Counts, Counts]:
    """Grid points along a closed polygon, one per step of each edge's longer direction."""
    start = np.trunc(STEPS * corners + 0.5).astype(np.int64)
    delta = np.roll(start, -1, axis=0) - start
    flat = np.abs(delta[:, 0]) >= np.abs(delta[:, 1])
    along = np.where(flat, delta[:, 0], delta[:, 1])
    beside = np.where(flat, delta[:, 1], delta[:, 0])
    slope = beside / np.where(along, along, 1)
    steps = np.abs(along)
    if steps.sum() > MAX_STEPS:
        raise ValueError(f"a contour is longer than {MAX_STEPS // STEPS:,} pixels")
    # steps follow an edge's direction, but are computed from its end with the smaller coordinate
    origin = start + np.where(along < 0, 1, 0)[:, None] * delta
    edge = np.repeat(np.arange(len(steps)), steps + 1)
    done = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    reach = np.where(along[edge] < 0, steps[edge] - done, done)
    major = np.where(flat, origin[:, 0], origin[:, 1])[edge] + reach
    minor = np.trunc(np.where(flat, origin[:, 1], origin[:, 0])[edge] + slope[edge] * reach + 0.5).astype(np.int64)
    return np.where(flat[edge], major, minor), np.where(flat[edge], minor, major)


def _crossings(x: Counts, y: Counts, height: int, width: int) -> Counts:
    """Pixel indices, column after column, at which the contour is entered or left."""
    turn = np.flatnonzero(x[1:] != x[:-1])
    middle = np.where(x[turn + 1] < x[turn], x[turn + 1], x[turn + 1] - 1) - STEPS // 2
    upper = np.minimum(y[turn + 1], y[turn]) - STEPS // 2
    inside = (middle % STEPS == 0) & (middle >= 0) & (middle < width * STEPS)
    rows = np.clip(-(-upper[inside] // STEPS), 0, height)
    return np.sort(middle[inside] // STEPS * height + rows)
