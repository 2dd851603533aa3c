"""Instance masks as COCO's compressed run-length encoding (RLE), bit for bit what pycocotools reads and writes.

Source: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c (the counts string and the rasteriser).
A mask is read column after column; its runs alternate between 0 and 1, beginning with 0. From the fourth on, a run
is stored as the difference to the one two before it, in groups of 5 bits, low ones first; a group becomes a
character by adding 48, and 32 more where another follows. The string holds no size: the caller knows it.
Whatever is no such string is a ValueError that says why.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline import images

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
#: of 5 bits: more than any run in an image needs, and few enough for 64 bits
MAX_GROUPS = 7
#: a pixel's side in steps of the rasteriser's grid
STEPS = 5
#: steps along the outline of one polygon, which take 80 bytes each: it may be 800,000 pixels long
MAX_STEPS = 4_000_000


def encode(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> bytes:
    """The RLE of an H×W mask; whatever is not 0 belongs to it."""
    if mask.ndim != 2:
        raise ValueError(f"a mask is H×W, this one has the shape {mask.shape}")
    flat = np.ravel(mask.T != 0)
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], turns, [flat.size]]))
    return _packed(np.concatenate([[0], counts]) if flat.size and flat[0] else counts)


def decode(rle: bytes, height: int, width: int) -> Mask:
    """The H×W mask of an RLE."""
    return _painted(_unpacked(rle), height, width)


def from_counts(counts: Sequence[int], height: int, width: int) -> Mask:
    """The H×W mask of an uncompressed RLE: its runs as plain numbers."""
    return decode(encode_counts(counts, height, width), height, width)


def encode_counts(counts: Sequence[int], height: int, width: int) -> bytes:
    """The RLE of an uncompressed one: its runs as plain numbers, of which some may be empty."""
    if not all(isinstance(count, int) and 0 <= count <= height * width for count in counts):
        raise ValueError("a run is no whole number from 0 to the mask's pixels")
    runs = np.asarray(counts, np.int64)
    _check(runs, height, width)
    places, often = np.unique(np.cumsum(runs)[:-1], return_counts=True)
    turns = places[(often % 2 == 1) & (places < height * width)]
    return _packed(np.diff(turns, prepend=0, append=height * width))


def from_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """The H×W mask that polygons cover together, as `encode_polygons` draws them."""
    return decode(encode_polygons(polygons, height, width), height, width)


def encode_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> bytes:
    """The RLE of what polygons `[x, y, x, y, …]` cover together, in pixels from the image's corner.

    Drawn as pycocotools does: corners are rounded to fifths of a pixel, and a column is filled between the places
    where the outline crosses its middle; a polygon that crosses itself leaves a hole. Pillow and OpenCV also paint
    the pixels that an outline touches: 3,000 outlines of mushrooms get 4 and 6 % larger (median; IoU 0.95, 0.93).
    """
    places, steps = [], []
    for number, polygon in enumerate(polygons):
        corners = np.asarray(polygon, np.float64)
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2:
            raise ValueError(f"polygon {number} has {corners.size} numbers, not three pairs or more")
        corners = corners.reshape(-1, 2)
        if not (np.abs(corners - [width / 2, height / 2]) <= [2 * width, 2 * height]).all():
            raise ValueError(f"polygon {number} has a corner that is no number or far outside the image")
        crossings = _crossings(*_outline(corners), height, width)
        places.append(crossings)
        steps.append(np.where(np.arange(len(crossings)) % 2, -1, 1))
    if not places:
        return encode(np.zeros((height, width), np.bool_))
    turns, which = np.unique(np.concatenate(places), return_inverse=True)
    inside = np.cumsum(np.bincount(which, np.concatenate(steps))) > 0
    turns = turns[(inside != np.concatenate([[False], inside[:-1]])) & (turns < height * width)]
    return _packed(np.diff(turns, prepend=0, append=height * width))


def resize(rle: bytes, size: tuple[int, int], new: tuple[int, int]) -> bytes:
    """The RLE of a mask scaled from height×width `size` to `new`, each pixel from the nearest, as a label map is."""
    counts = _unpacked(rle)
    _check(counts, *size)
    rows, columns = map(images.nearest, size, new)
    run = np.searchsorted(np.cumsum(counts), columns[:, None].astype(np.int64) * size[0] + rows, side="right")
    return encode((run % 2 == 1).T)


def area(rle: bytes, size: tuple[int, int] | None = None) -> int:
    """Pixels of the mask; with height×width `size`, ValueError where its runs don't cover just that."""
    counts = _unpacked(rle)
    if size is not None:
        _check(counts, *size)
    return int(counts[1::2].sum())


def iou(a: Sequence[bytes], b: Sequence[bytes], crowd: Sequence[bool] | Mask | None = None) -> NDArray[np.float64]:
    """N×M intersection over union of masks; over the area of `a` alone in columns where `b` is a crowd.

    All masks must be of one size. No pixel is unpacked: how much of a mask of `b` lies before a place is a broken
    line, and its rise over the runs of a mask of `a` is what the two share.
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
        places = np.stack([starts, ends], 1).ravel()
        before = np.cumsum(np.stack([np.zeros_like(starts), ends - starts], 1).ravel())
        wanted = [np.concatenate([runs[row][1] for row in near]), np.concatenate([runs[row][0] for row in near])]
        rise = np.interp(wanted[0], places, before) - np.interp(wanted[1], places, before)
        firsts = np.cumsum([0] + [len(runs[row][0]) for row in near[:-1]])
        shared = np.add.reduceat(rise, firsts)
        alone = 0.0 if crowd is not None and crowd[column] else before[-1] - shared
        result[near, column] = shared / (sizes[near] + alone)
    return result


def _edges(rle: bytes) -> tuple[Counts, Counts, int]:
    """Where the runs of 1 start and end, none of them empty, and the mask's number of pixels."""
    bounds = np.cumsum(_unpacked(rle))
    ends = bounds[1::2]
    starts = bounds[0::2][: len(ends)]
    return starts[ends > starts], ends[ends > starts], int(bounds[-1])


def _check(counts: Counts, height: int, width: int) -> None:
    if counts.sum() != height * width:
        raise ValueError(f"the runs cover {counts.sum()} pixels, not {width}×{height} = {width * height}")


def _painted(counts: Counts, height: int, width: int) -> Mask:
    _check(counts, height, width)
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def _packed(counts: Counts) -> bytes:
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


def _unpacked(rle: bytes) -> Counts:
    groups = np.frombuffer(rle, np.uint8).astype(np.int64) - 48
    if not len(groups):
        raise ValueError("an empty RLE")
    if groups.min() < 0 or groups.max() > 63:
        place = int(np.argmax((groups < 0) | (groups > 63)))
        raise ValueError(f"character {place} of the RLE, {rle[place : place + 1]!r}, is none of COCO's")
    ends = np.flatnonzero(groups < 32)
    if not len(ends) or ends[-1] != len(groups) - 1:
        raise ValueError("the RLE breaks off within a number")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_GROUPS:
        raise ValueError(f"a number in the RLE has more than {MAX_GROUPS} characters")
    shifts = 5 * (np.arange(len(groups)) - np.repeat(starts, lengths))
    values = np.add.reduceat((groups & 31) << shifts, starts)
    values -= np.where(groups[ends] & 16, 1 << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])  # the very first run stands for itself
    if values.min() < 0:
        raise ValueError(f"run {int(np.argmax(values < 0))} of the RLE is negative")
    return values


def _outline(corners: NDArray[np.float64]) -> tuple[Counts, Counts]:
    """Points of the grid along a closed polygon, one a step of each edge's longer direction."""
    start = np.trunc(STEPS * corners + 0.5).astype(np.int64)
    delta = np.roll(start, -1, axis=0) - start
    flat = np.abs(delta[:, 0]) >= np.abs(delta[:, 1])
    along = np.where(flat, delta[:, 0], delta[:, 1])
    beside = np.where(flat, delta[:, 1], delta[:, 0])
    slope = beside / np.where(along, along, 1)
    steps = np.abs(along)
    if steps.sum() > MAX_STEPS:
        raise ValueError(f"an outline is longer than {MAX_STEPS // STEPS:,} pixels")
    # edges are walked in their own direction, but measured from the end with the smaller coordinate
    origin = start + np.where(along < 0, 1, 0)[:, None] * delta
    edge = np.repeat(np.arange(len(steps)), steps + 1)
    done = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    reach = np.where(along[edge] < 0, steps[edge] - done, done)
    major = np.where(flat, origin[:, 0], origin[:, 1])[edge] + reach
    minor = np.trunc(np.where(flat, origin[:, 1], origin[:, 0])[edge] + slope[edge] * reach + 0.5).astype(np.int64)
    return np.where(flat[edge], major, minor), np.where(flat[edge], minor, major)


def _crossings(x: Counts, y: Counts, height: int, width: int) -> Counts:
    """Where, column after column, the outline is entered or left."""
    turn = np.flatnonzero(x[1:] != x[:-1])
    middle = np.where(x[turn + 1] < x[turn], x[turn + 1], x[turn + 1] - 1) - STEPS // 2
    upper = np.minimum(y[turn + 1], y[turn]) - STEPS // 2
    inside = (middle % STEPS == 0) & (middle >= 0) & (middle < width * STEPS)
    rows = np.clip(-(-upper[inside] // STEPS), 0, height)
    return np.sort(middle[inside] // STEPS * height + rows)
