"""Selective search: regions and groups are those of the published algorithms, done the slow way beside them."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from numpy.typing import NDArray
from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
from scipy.sparse.csgraph import minimum_spanning_tree  # type: ignore[import-untyped]

from pipeline.errors import UserError
from pipeline.geometry import boxes as geometry
from pipeline.geometry.selective_search import (
    Graph,
    Index,
    Regions,
    converted,
    described,
    graph,
    grouped,
    segments,
    selective_search,
)


def picture(seed: int, side: int = 24) -> NDArray[np.uint8]:
    """Coarse noise, so that there are regions, and fine noise on it."""
    random = np.random.default_rng(seed)
    coarse = np.kron(random.integers(0, 256, (side // 6, side // 6, 3)), np.ones((6, 6, 1)))
    return np.clip(coarse + random.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)


def slow_segments(edges: Graph, pixels: int, scale: float, least: int) -> list[int]:
    """Felzenszwalb and Huttenlocher's algorithm 1, every edge in turn, and what their program does with small ones."""
    region = list(range(pixels))
    members: dict[int, set[int]] = {place: {place} for place in region}
    inside = dict.fromkeys(region, 0.0)
    triples = list(zip(edges.first.tolist(), edges.second.tolist(), edges.weights.tolist(), strict=True))

    def join(one: int, other: int) -> None:
        for place in members[other]:
            region[place] = one
        members[one] |= members.pop(other)

    for first, second, weight in triples:
        one, other = region[first], region[second]
        if one != other and all(weight <= inside[item] + scale / len(members[item]) for item in (one, other)):
            join(one, other)
            inside[one] = weight
    for first, second, _ in triples:
        one, other = region[first], region[second]
        if one != other and min(len(members[one]), len(members[other])) < least:
            join(one, other)
    return region


def same(one: Any, other: Any) -> bool:
    """Whether two numberings mean the same partition."""
    pairs = set(zip(np.asarray(one).tolist(), np.asarray(other).tolist(), strict=True))
    return len(pairs) == len(set(np.asarray(one).tolist())) == len(set(np.asarray(other).tolist()))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("scale", "least"), [(20, 1), (100, 20), (600, 50)])
def test_regions_are_those_of_every_edge_in_turn(seed: int, scale: float, least: int) -> None:
    edges = graph(converted(picture(seed), "Lab"))
    found = segments(edges, 24 * 24, scale, least)
    assert same(found, slow_segments(edges, 24 * 24, scale, least))
    assert 1 < len(set(found.tolist())) < 24 * 24


def test_control_other_scales_give_other_regions() -> None:
    edges = graph(converted(picture(0), "Lab"))
    assert not same(segments(edges, 576, 100, 20), slow_segments(edges, 576, 120, 20))


def test_a_spanning_tree_is_not_enough() -> None:
    """Pixels 0 and 1 lie beside 2, whose region of ten is complete at weight 5; the edge 0–1 of weight 6 joins them.

    In the spanning tree 0 and 1 hang on that region alone.
    """
    chain = [(place, place + 1, 0.0) for place in range(2, 11)]
    first, second, weights = (
        np.array(part) for part in zip(*chain, (0, 2, 5.0), (1, 11, 5.0), (0, 1, 6.0), strict=True)
    )
    edges = Graph(first, second, weights.astype(np.float32))
    found = segments(edges, 12, 30, 1)
    assert same(found, [0, 0, *[1] * 10])
    tree: Any = minimum_spanning_tree(coo_matrix((weights + 1, (first, second)), (12, 12))).tocoo()
    order = np.argsort(tree.data)
    pruned = Graph(tree.row[order], tree.col[order], (tree.data[order] - 1).astype(np.float32))
    assert same(segments(pruned, 12, 30, 1), [0, 1, *[2] * 10])


def test_colour_spaces() -> None:
    image = picture(1)
    hsv = converted(image, "HSV")
    np.testing.assert_allclose(hsv / 255, rgb_to_hsv(image / 255), atol=1e-4)
    np.testing.assert_array_equal(converted(image, "H"), hsv[..., :1])
    colors = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    # CIE L*a*b* of sRGB red: 53.24, 80.09, 67.20
    lab: Any = [[255, 128, 128], [0, 128, 128], [2.55 * 53.24, 208.09, 195.2]]
    np.testing.assert_allclose(converted(colors, "Lab")[0], lab, atol=0.5)
    np.testing.assert_allclose(converted(colors, "rgI")[0], [[85, 85, 255], [0, 0, 0], [255, 0, 85]], atol=1e-3)
    np.testing.assert_allclose(converted(colors, "I")[0], [[255], [0], [85]], atol=1e-3)


def test_what_regions_are_like() -> None:
    """Two columns of a 4×6 image: dark ones, and a bright one that is two pixels wide."""
    labels = np.zeros((4, 6), np.int64)
    labels[:, 4:] = 1
    pixels = np.where(labels[..., None] == 1, np.float32(255), np.float32(5))
    found = described(labels, pixels, graph(pixels))
    assert found.sizes.tolist() == [16, 8]
    assert found.boxes.tolist() == [[0, 0, 4, 4], [4, 0, 6, 4]]
    assert found.pairs.tolist() == [[0, 1]]
    assert found.color[:, [0, 24]].tolist() == [[1, 0], [0, 1]]
    np.testing.assert_allclose(found.texture.sum(axis=1), 1, rtol=1e-5)
    rises = found.texture.reshape(2, 8, 10)
    assert rises[0, 0, 1:].sum() > 0  # to the right it grows,
    assert rises[0, 4, 1:].sum() == rises[0, 2, 1:].sum() == 0  # to the left and downwards it does not


def slow_grouped(labels: Index, regions: Regions, measures: str) -> list[list[float]]:
    """The paper's algorithm 1, all likenesses of neighbours anew after every join."""
    whole = labels.size
    alive = {
        number: (float(regions.sizes[number]), regions.boxes[number], regions.color[number], regions.texture[number])
        for number in range(len(regions.sizes))
    }
    near = {frozenset(pair) for pair in regions.pairs.tolist()}
    boxes = [list(box) for box in regions.boxes.tolist()]

    def around(a: Any, b: Any) -> Any:
        return np.concatenate([np.minimum(a[1][:2], b[1][:2]), np.maximum(a[1][2:], b[1][2:])])

    def alike(a: Any, b: Any) -> float:
        box = around(a, b)
        terms = {
            "C": np.minimum(a[2], b[2]).sum(),
            "T": np.minimum(a[3], b[3]).sum(),
            "S": 1 - (a[0] + b[0]) / whole,
            "F": 1 - ((box[2] - box[0]) * (box[3] - box[1]) - a[0] - b[0]) / whole,
        }
        return float(sum(terms[name] for name in measures))

    while len(alive) > 1:
        pairs = [pair for pair in combinations(alive, 2) if frozenset(pair) in near]
        one, other = max(pairs, key=lambda pair: alike(alive[pair[0]], alive[pair[1]]))
        a, b, new = alive.pop(one), alive.pop(other), len(boxes)
        size = a[0] + b[0]
        alive[new] = (size, around(a, b), *((a[0] * a[part] + b[0] * b[part]) / size for part in (2, 3)))
        near = {frozenset(new if item in (one, other) else item for item in pair) for pair in near}
        boxes.append(list(alive[new][1].tolist()))
    return boxes


@pytest.mark.parametrize("measures", ["CTSF", "TSF", "F", "S"])
def test_groups_are_joined_in_the_papers_order(measures: str) -> None:
    pixels = converted(picture(2), "HSV")
    edges = graph(pixels)
    labels = segments(edges, 576, 60, 10).reshape(24, 24)
    regions = described(labels, pixels, edges)
    assert len(regions.sizes) > 8
    random = np.random.default_rng(0)
    if measures in ("F", "S"):  # whole numbers tie, and either may come first
        regions = regions._replace(sizes=regions.sizes + random.random(len(regions.sizes), np.float32))
    found = grouped(regions, measures)
    assert found.tolist() == slow_grouped(labels, regions, measures)
    assert found[-1].tolist() == [0, 0, 24, 24]


def test_objects_are_among_the_boxes_and_the_same_image_gives_the_same() -> None:
    image = np.full((80, 100, 3), (90, 110, 90), np.uint8)
    image[10:40, 12:60] = (200, 40, 40)
    image[45:75, 50:90] = (40, 40, 200)
    image[52:66, 58:80] = (230, 230, 60)
    noisy = (image + np.random.default_rng(0).integers(0, 8, image.shape)).astype(np.uint8)
    found = selective_search(noisy, least=10)
    truth = np.array([[12, 10, 60, 40], [50, 45, 90, 75], [58, 52, 80, 66]], np.float32)
    assert geometry.iou(found, truth).max(axis=0).min() > 0.85
    assert [0, 0, 100, 80] in found.tolist()
    assert len(np.unique(found, axis=0)) == len(found)
    assert ((found[:, 2:] - found[:, :2]).min()) >= 10
    np.testing.assert_array_equal(found, selective_search(noisy, least=10))
    other = selective_search(noisy, least=10, seed=1)
    assert found.tolist() != other.tolist()
    assert sorted(found.tolist()) == sorted(other.tolist())


def test_quality_finds_more_boxes() -> None:
    image = picture(4, 48)
    fast, quality = (selective_search(image, mode, least=4) for mode in ("fast", "quality"))
    assert {*map(tuple, fast.tolist())} < {*map(tuple, quality.tolist())}


def test_an_image_of_one_colour_is_one_box() -> None:
    assert selective_search(np.full((40, 30, 3), 77, np.uint8)).tolist() == [[0, 0, 30, 40]]


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UserError, match="no mode is named 'fats'; did you mean 'fast'"):
        selective_search(picture(0), "fats")
