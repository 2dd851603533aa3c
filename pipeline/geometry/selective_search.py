"""Selective search: boxes that may contain an object, from regions that are merged by similarity.

Uijlings, van de Sande, Gevers, Smeulders: Selective Search for Object Recognition, IJCV 104 (2013) 154,
https://doi.org/10.1007/s11263-013-0620-5; it starts from the regions of Felzenszwalb and Huttenlocher: Efficient
Graph-Based Image Segmentation, IJCV 59 (2004) 167, https://doi.org/10.1023/B:VISI.0000022288.19776.77. Published:
recall of 99 % with 10,097 boxes per image of VOC 2007.

The regions are exactly those of the published algorithm, which processes edges in the order of their weights. (A
minimum spanning tree does not suffice: two regions beside a complete third one can still be joined by another edge.)
Strategies are those of R-CNN's proposals: `fast` groups 8 times, `quality` 80. Equal images give equal boxes.
"""

import heapq
from array import array
from collections.abc import Iterator, MutableSequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline import plugins
from pipeline.errors import UserError

Array = NDArray[np.float32]
Index = NDArray[np.int64]
Numbers = MutableSequence[int]

SIGMA, TEXTURE_SIGMA = 0.8, 1.0
COLOR_BINS, TEXTURE_BINS = 25, 10
#: edges are processed in this number of parts; edges that can't join regions any more are dropped before each part
PARTS = 12
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


class Mode(NamedTuple):
    """Colour spaces; measures whose sum is the similarity (Colour, Texture, Size, Fill); scales of first regions."""

    spaces: tuple[str, ...]
    measures: tuple[str, ...]
    scales: tuple[int, ...]


MODES = {
    "fast": Mode(("HSV", "Lab"), ("CTSF", "TSF"), (50, 100)),
    "quality": Mode(("HSV", "Lab", "rgI", "H", "I"), ("CTSF", "TSF", "F", "S"), (50, 100, 150, 300)),
}


class Graph(NamedTuple):
    """Edges between neighbouring pixels, by index, with the distance of their colours, in ascending order."""

    first: Index
    second: Index
    weights: Array


class Regions(NamedTuple):
    """N regions: pixels, N×4 boxes, normalised histograms of colour and of texture, and pairs of neighbours."""

    sizes: Array
    boxes: Array
    color: Array
    texture: Array
    pairs: Index


def selective_search(image: NDArray[np.uint8], mode: str = "fast", *, least: float = 20, seed: int = 0) -> Array:
    """H×W×3 RGB → P×4 unique boxes in pixels, x_min, y_min, x_max, y_max, the most promising first.

    least: minimum width and height in pixels · seed: of the order; a box's rank is a uniform random number times its
    number of merges from the whole image.
    """
    if mode not in MODES:
        raise UserError(f"mode: {plugins.unknown('mode', mode, MODES)}")
    random = np.random.default_rng(seed)
    boxes, ranks = [], []
    for grouping in _groupings(image, MODES[mode]):
        boxes.append(grouping)
        ranks.append(np.arange(len(grouping), 0, -1) * random.random(len(grouping)))  # the last box is the whole image
    ordered = np.concatenate(boxes)[np.argsort(np.concatenate(ranks), kind="stable")]
    ordered = ordered[(ordered[:, 2:] - ordered[:, :2] >= least).all(axis=1)]
    _, first = np.unique(ordered, axis=0, return_index=True)
    return ordered[np.sort(first)]


def _groupings(image: NDArray[np.uint8], mode: Mode) -> Iterator[Array]:
    for space in mode.spaces:
        pixels = converted(image, space)
        edges = graph(pixels)
        for scale in mode.scales:
            labels = segments(edges, pixels[..., 0].size, scale, scale).reshape(image.shape[:2])
            regions = described(labels, pixels, edges)
            for measures in mode.measures:
                yield grouped(regions, measures)


def converted(image: NDArray[np.uint8], space: str) -> Array:
    """H×W×3 RGB → H×W×C in a colour space, each channel within 0..255."""
    rgb = image.astype(np.float32) / 255
    if space in ("HSV", "H"):
        hsv: Array = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV) * np.array([255 / 360, 255, 255], np.float32)
        return hsv if space == "HSV" else hsv[..., :1]
    if space == "Lab":
        lab: Array = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab) * np.array([2.55, 1, 1], np.float32)
        return lab + np.array([0, 128, 128], np.float32)
    total = rgb.sum(axis=2, keepdims=True)
    intensity = total * (255 / 3)
    if space == "I":
        return intensity
    return np.concatenate([255 * rgb[..., :2] / np.maximum(total, 1e-6), intensity], axis=2)


def graph(pixels: Array) -> Graph:
    """H×W×C → the edges of each pixel to its eight neighbours, after a slight blur."""
    smooth = _blurred(pixels, SIGMA)
    height, width = pixels.shape[:2]
    number = np.arange(height * width).reshape(height, width)
    parts = []
    for down, right in NEIGHBOURS:
        here = slice(0, height - down), slice(max(0, -right), width - max(0, right))
        there = slice(down, height), slice(max(0, right), width + min(0, right))
        apart = np.sqrt(np.square(smooth[here] - smooth[there]).sum(axis=2))
        parts.append((number[here].ravel(), number[there].ravel(), apart.ravel()))
    first, second, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(weights, kind="stable")
    return Graph(first[order], second[order], weights[order])


def _blurred(pixels: Array, sigma: float) -> Array:
    return cv2.GaussianBlur(np.ascontiguousarray(pixels), (0, 0), sigma).reshape(pixels.shape)


def segments(edges: Graph, pixels: int, scale: float, least: int) -> Index:
    """Each pixel's region, from 0: an edge joins two if it is at most the heaviest edge in each plus scale/size.

    Then regions of fewer than `least` pixels are joined with the nearest one.
    """
    # array.array, which numpy reads without a copy
    parent, sizes, limits = array("q", range(pixels)), array("q", [1]) * pixels, array("d", [scale]) * pixels
    for part in np.array_split(np.arange(len(edges.weights)), PARTS):
        if not len(part):
            continue
        # a region whose limit is below all remaining weights is complete
        roots, complete = _roots(parent), np.array(limits) < edges.weights[part[0]]
        ends = roots[edges.first[part]], roots[edges.second[part]]
        kept = (ends[0] != ends[1]) & ~complete[ends[0]] & ~complete[ends[1]]
        triples = zip(ends[0][kept].tolist(), ends[1][kept].tolist(), edges.weights[part][kept].tolist(), strict=True)
        for one, other, weight in triples:
            # `_root` and `_join`, inlined: most of the time is spent here
            while (above := parent[one]) != one:
                parent[one] = one = parent[above]
            while (above := parent[other]) != other:
                parent[other] = other = parent[above]
            if one != other and weight <= limits[one] and weight <= limits[other]:
                if sizes[one] < sizes[other]:
                    one, other = other, one
                parent[other] = one
                sizes[one] += sizes[other]
                limits[one] = weight + scale / sizes[one]
    roots = _roots(parent)
    ends = roots[edges.first], roots[edges.second]
    for edge in _first_of_pairs(*ends, pixels):
        one, other = _root(parent, int(ends[0][edge])), _root(parent, int(ends[1][edge]))
        if one != other and min(sizes[one], sizes[other]) < least:
            _join(parent, sizes, one, other)
    return np.unique(_roots(parent), return_inverse=True)[1]


def _roots(parent: Numbers) -> Index:
    roots = np.array(parent)
    while not np.array_equal(above := roots[roots], roots):
        roots = above
    return roots


def _root(parent: Numbers, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _join(parent: Numbers, sizes: Numbers, one: int, other: int) -> None:
    if sizes[one] < sizes[other]:
        one, other = other, one
    parent[other] = one
    sizes[one] += sizes[other]


def _first_of_pairs(one: Index, other: Index, count: int) -> Index:
    """Indices of the first occurrence of each pair of different numbers below `count`, ascending."""
    apart = np.flatnonzero(one != other)
    low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
    return np.sort(apart[np.unique(low * count + high, return_index=True)[1]])


def described(labels: Index, pixels: Array, edges: Graph) -> Regions:
    """H×W region labels, H×W×C pixels and their edges → the features of the regions."""
    count, flat = int(labels.max()) + 1, labels.ravel()
    sizes = np.bincount(flat, minlength=count).astype(np.float32)
    boxes = np.empty((count, 4), np.float32)
    for side, positions in enumerate(np.indices(labels.shape)[::-1]):
        low, high = np.full(count, labels.size), np.zeros(count, np.int64)
        np.minimum.at(low, flat, positions.ravel())
        np.maximum.at(high, flat, positions.ravel() + 1)
        boxes[:, side], boxes[:, side + 2] = low, high
    channels = np.moveaxis(pixels, 2, 0)
    color = [_histogram(flat, channel, 256, COLOR_BINS) for channel in channels]
    steep = [_derivatives(channel) for channel in channels]
    texture = [_histogram(flat, one, float(np.max(every)), TEXTURE_BINS) for every in steep for one in every]
    one, other = flat[edges.first], flat[edges.second]
    near = _first_of_pairs(one, other, count)
    colors, textures = (np.concatenate(part, axis=1) / (sizes[:, None] * len(part)) for part in (color, texture))
    return Regions(sizes, boxes, colors, textures, np.stack([one[near], other[near]], axis=1))


def _histogram(labels: Index, values: Array, end: float, bins: int) -> Array:
    """Regions×bins: histogram of each region's values, in equal bins from 0 to `end`."""
    step = np.minimum(values.ravel() * (bins / max(end, 1e-6)), bins - 1).astype(np.int64)
    count = int(labels.max()) + 1
    return np.bincount(labels * bins + step, minlength=count * bins).reshape(count, bins).astype(np.float32)


def _derivatives(channel: Array) -> list[Array]:
    """The positive part of the derivative in each of eight directions."""
    down, right = np.gradient(_blurred(channel, TEXTURE_SIGMA))
    angles = np.arange(8) * (np.pi / 4)
    return [np.maximum(np.cos(angle) * right + np.sin(angle) * down, 0) for angle in angles]


def grouped(regions: Regions, measures: str) -> Array:
    """The boxes of all regions, and of those that result from repeatedly merging the most similar neighbours.

    The last box is the whole image. Similarity is a sum of `measures`: intersection of the histograms of Colour (C) and
    Texture (T), Small size (S) of both, and how well they Fill the box around both (F).
    """
    start = len(regions.sizes)
    whole = float(regions.sizes.sum())
    none = np.zeros((start, 0), np.float32)
    parts = [regions.color if "C" in measures else none, regions.texture if "T" in measures else none]
    room = ((0, start - 1), (0, 0))
    histograms = np.pad(np.concatenate(parts, axis=1), room)
    sizes, boxes = np.pad(regions.sizes, room[0]), np.pad(regions.boxes, room)
    near: list[set[int]] = [set() for _ in range(start)]
    for one, other in regions.pairs.tolist():
        near[one].add(other)
        near[other].add(one)

    def similarity(one: Index | int, other: Index) -> list[float]:
        both = sizes[one] + sizes[other]
        total = np.minimum(histograms[one], histograms[other]).sum(axis=1)
        if "S" in measures:
            total = total + 1 - both / whole
        if "F" in measures:
            sides = np.maximum(boxes[one], boxes[other])[:, 2:] - np.minimum(boxes[one], boxes[other])[:, :2]
            total = total + 1 - (sides.prod(axis=1) - both) / whole
        return (-total).tolist()

    waiting = list(zip(similarity(*regions.pairs.T), *regions.pairs.T.tolist(), strict=True))
    heapq.heapify(waiting)
    while waiting:
        _, one, other = heapq.heappop(waiting)
        if other not in near[one]:  # one of them has been merged already
            continue
        new, pair = len(near), [one, other]
        sizes[new] = sizes[pair].sum()
        histograms[new] = sizes[pair] @ histograms[pair] / sizes[new]
        boxes[new] = np.concatenate([boxes[pair, :2].min(axis=0), boxes[pair, 2:].max(axis=0)])
        around = (near[one] | near[other]) - {one, other}
        for neighbour in around:
            near[neighbour] = near[neighbour] - {one, other} | {new}
        near[one] = near[other] = set()
        near.append(around)
        others = sorted(around)
        for value, neighbour in zip(similarity(new, np.array(others, np.int64)), others, strict=True):
            heapq.heappush(waiting, (value, new, neighbour))
    return boxes
