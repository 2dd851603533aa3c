"""COCO's average precision, computed from matches that are stored per image.

Lin et al.: Microsoft COCO, 2014, https://arxiv.org/abs/1405.0312; the rules are those of
https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/cocoeval.py.

Promise: the twelve numbers of pycocotools to 1e-9, including equal scores, crowds and areas. Detections are matched
once per image (`match_detections`), in order of score, so a match does not depend on later detections: the limit of
detections per image is applied when scores are computed. A bootstrap resample is then a weighted cumulative sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.bootstrap import Counts

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
#: ranges of area in square pixels of the original image: all, small, medium, large; both ends are included
AREAS = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
#: ranges with scores of their own: index in AREAS → suffix of the score
SIZES = {1: "small", 2: "medium", 3: "large"}
#: values of a match; ignored: matched to an ignored object, or unmatched and of an area outside the range
FALSE_POSITIVE, TRUE_POSITIVE, IGNORED = 0, 1, 2
#: limits of detections per image and class for average recall; the last is COCO's limit for all other scores
LIMITS = (1, 10, 100)
#: limit of detections per image and class that rows store
STORED_LIMIT = 1000


def rank_detections(scores: Floats, labels: Numbers, limit: int = STORED_LIMIT) -> Numbers:
    """Indices of at most `limit` detections per class, by descending score; equal scores keep their order."""
    order = np.argsort(-scores, kind="stable")
    return order[ranks(labels[order]) < limit]


def ranks(labels: Numbers) -> Numbers:
    """N: how many earlier detections have the same class."""
    result = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        same = labels == label
        result[same] = np.arange(same.sum())
    return result


def outside(areas: Floats) -> Flags:
    """N×4: whether an area in square pixels is outside each range of AREAS."""
    return (areas[:, None] < AREAS[:, 0]) | (areas[:, None] > AREAS[:, 1])


def match_detections(
    overlap: Floats, labels: Numbers, wrong_area: Flags, true_labels: Numbers, ignored: Flags, crowd: Flags
) -> Bytes:
    """Match N detections, by descending score, to M true objects of an image.

    Args:
        overlap: N×M.
        labels: N, of the detections.
        wrong_area: N×4, whether a detection's area is outside each range of AREAS.
        true_labels: M.
        ignored: M×4, whether a true object is not scored in each range.
        crowd: M, whether a true object may be matched more than once.

    Returns:
        N×4×10 matches by area range and overlap threshold: FALSE_POSITIVE, TRUE_POSITIVE or IGNORED.
    """
    matches = np.where(wrong_area[:, :, None], IGNORED, np.full(len(OVERLAPS), FALSE_POSITIVE)).astype(np.uint8)
    for label in np.unique(labels):
        rows, columns = np.flatnonzero(labels == label), np.flatnonzero(true_labels == label)
        if len(columns):
            part = overlap[np.ix_(rows, columns)]
            matches[rows] = _match_class(matches[rows], part, ignored[columns].T[:, None], crowd[columns])
    return matches


def _match_class(matches: Bytes, overlap: Floats, ignored: Flags, crowd: Flags) -> Bytes:
    """n×4×10 matches of one class; in turn, each detection takes the free true object that it overlaps most."""
    free = np.ones((len(AREAS), len(OVERLAPS), len(crowd)), np.bool_)
    area, level = np.ogrid[: len(AREAS), : len(OVERLAPS)]
    for index in np.flatnonzero(overlap.max(axis=1) >= OVERLAPS[0]):
        reached = free & (overlap[index] >= OVERLAPS[:, None])
        counted = reached & ~ignored
        # an ignored object is a candidate only if no counted one is left
        candidates = np.where(counted.any(axis=2, keepdims=True), counted, reached)
        values = np.where(candidates, overlap[index], -1)
        best = len(crowd) - 1 - values[..., ::-1].argmax(axis=2)  # the last of equal overlaps
        matched = candidates.any(axis=2)
        match = np.where(ignored[:, 0][area, best], IGNORED, TRUE_POSITIVE)
        matches[index] = np.where(matched, match, matches[index])
        free[area, level, best] &= ~matched | crowd[best]
    return matches


@dataclass(frozen=True)
class ClassMatches:
    """Matches of one class over all images: n detections by descending score, m true objects.

    images: n, the row of each detection · rank: n, within class and image · scored: per area range, the distinct
    vectors of n flags whether a detection is scored, and 10 indices into these by overlap · true_positives: per area
    range and overlap, indices of the detections · true_images: m, the row of each object · counted: m×4, whether an
    object is scored per area range.
    """

    images: Numbers
    rank: Numbers
    scored: list[tuple[Flags, Numbers]]
    true_positives: list[list[Numbers]]
    true_images: Numbers
    counted: Flags

    def true_totals(self, counts: Counts) -> Numbers:
        """4: the number of true objects per area range."""
        return np.asarray(counts[self.true_images] @ self.counted, np.int64)

    def precisions(self, counts: Counts) -> Floats:
        """4×10×101: the highest precision at each recall or above; NaN for area ranges without true objects."""
        weights = counts[self.images]
        precisions = np.full((len(AREAS), len(OVERLAPS), len(RECALLS)), np.nan)
        for area, total in enumerate(self.true_totals(counts)):
            if not total:
                continue
            flags, inverse = self.scored[area]
            scored = np.cumsum(flags * weights, axis=1)
            # the fewest true positives that reach each recall, in whole numbers
            needed = np.searchsorted(np.arange(total + 1) / total, RECALLS)
            for level, indices in enumerate(self.true_positives[area]):
                # precision has its maxima at true positives: false positives between two of them only lower it
                true_positives = np.cumsum(weights[indices])
                precision = true_positives / (scored[inverse[level], indices] + np.spacing(1))
                highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
                precisions[area, level] = highest[np.searchsorted(true_positives, needed)]
        return precisions

    def recalls(self, counts: Counts, limit: int, area: int = 0) -> Floats:
        """10: recall of the best `limit` detections per image, by overlap; NaN without true objects."""
        total = self.true_totals(counts)[area]
        if not total:
            return np.full(len(OVERLAPS), np.nan)
        weights = counts[self.images] * (self.rank < limit)
        return np.array([weights[indices].sum() for indices in self.true_positives[area]]) / total


def matches_by_class(table: pa.Table, classes: int, column: str, limit: int = LIMITS[-1]) -> list[ClassMatches]:
    """Matches of each class, of the best `limit` detections per image; `column` holds the matches."""
    labels, scores = (flatten(table, name) for name in ("labels", "scores"))
    images = row_indices(table, "labels")
    rank = np.concatenate([np.zeros(0, np.int64), *(ranks(np.asarray(row)) for row in table["labels"].to_pylist())])
    matches = unpack(table, column, len(AREAS), len(OVERLAPS))
    true_labels, counted = flatten(table, "true_labels"), unpack(table, "counted", len(AREAS)).astype(np.bool_)
    true_images = row_indices(table, "true_labels")
    result = []
    for label in range(classes):
        indices = indices_of_class(label, labels, scores)
        indices = indices[rank[indices] < limit]
        by_area = np.moveaxis(matches[indices], 0, 2)
        scored = [np.unique(part != IGNORED, axis=0, return_inverse=True) for part in by_area]
        true_positives = [[np.flatnonzero(row == TRUE_POSITIVE) for row in part] for part in by_area]
        of_label = true_labels == label
        result.append(
            ClassMatches(
                images[indices], rank[indices], scored, true_positives, true_images[of_label], counted[of_label]
            )
        )
    return result


def indices_of_class(label: int, labels: Floats, scores: Floats) -> Numbers:
    """Indices of the detections of a class, by descending score."""
    indices = np.flatnonzero(labels == label)
    return indices[np.argsort(-scores[indices], kind="stable")]


def flatten(table: pa.Table, name: str) -> Floats:
    """The numbers of a column of lists, row after row."""
    return np.asarray(pc.list_flatten(table[name]).cast(pa.float64()).to_numpy())


def row_indices(table: pa.Table, name: str) -> Numbers:
    """For each number of a flattened column of lists, the index of its row."""
    return np.repeat(np.arange(len(table)), pc.list_value_length(table[name]).to_numpy())


def unpack(table: pa.Table, name: str, *shape: int) -> Bytes:
    """The bytes of a column, row after row, as n×`shape`."""
    return np.frombuffer(b"".join(table[name].to_pylist()), np.uint8).reshape(-1, *shape)


def scores(
    table: pa.Table, classes: tuple[str, ...], column: str = "box_matches", limit: int = LIMITS[-1]
) -> Callable[[Counts], dict[str, Any]]:
    """A function from row counts to COCO's scores and `AP[class]`; sizes without true objects are left out.

    limit: detections per image and class that are scored; another than COCO's 100 adds average recall at that limit.
    """
    by_class = matches_by_class(table, len(classes), column, limit)
    sizes = [area for area in SIZES if any(item.counted[:, area].any() for item in by_class)]

    def score(counts: Counts) -> dict[str, float]:
        precision = np.stack([item.precisions(counts).mean(axis=2) for item in by_class])

        def recall(number: int, area: int = 0) -> Floats:
            return np.stack([item.recalls(counts, number, area) for item in by_class])

        means = {
            "mAP": precision[:, 0],
            "AP50": precision[:, 0, 0],
            "AP75": precision[:, 0, 5],
            **{f"AP_{SIZES[area]}": precision[:, area] for area in sizes},
            **{f"AR{number}": recall(number) for number in sorted({*LIMITS, limit}) if number <= limit},
            **{f"AR_{SIZES[area]}": recall(limit, area) for area in sizes},
            **{f"AP[{name}]": precision[index, 0] for index, name in enumerate(classes)},
        }
        return {name: mean(values) for name, values in means.items()}

    return score


def mean(values: Floats) -> float:
    """The mean of the values that are not NaN; NaN if all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
