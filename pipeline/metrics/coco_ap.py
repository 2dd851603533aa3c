"""COCO's average precision, from verdicts that every image keeps.

Lin et al.: Microsoft COCO, 2014, https://arxiv.org/abs/1405.0312; the rules are those of
https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/cocoeval.py.

Promise: the twelve numbers of pycocotools to 1e-9, equal scores, crowds and areas included. Matching is done once an
image (`verdicts`), and what comes later in it changes nothing before, so that how many detections of an image count is
asked of the scores alone; a resample is then a weighted cumulative sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.bootstrap import Counts

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
#: square pixels of the original image: all, small, medium, large; both ends belong to a range
AREAS = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
#: which of the ranges have a score of their own
SIZES = {1: "small", 2: "medium", 3: "large"}
#: what a detection is: a false alarm, a hit, or neither (it overlaps what does not count, or has another size)
WRONG, RIGHT, NEITHER = 0, 1, 2
#: detections of an image and class by which average recall is asked; the last is COCO's most for all other numbers
MOST = (1, 10, 100)
#: detections of an image and class that rows hold
KEPT = 1000


def ranked(scores: Floats, labels: Numbers, most: int = KEPT) -> Numbers:
    """Places of the detections that are kept, best first, of equals the first: at most so many of a class."""
    order = np.argsort(-scores, kind="stable")
    return order[ranks(labels[order]) < most]


def ranks(labels: Numbers) -> Numbers:
    """Before each detection, how many of its class."""
    result = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        same = labels == label
        result[same] = np.arange(same.sum())
    return result


def outside(areas: Floats) -> Flags:
    """N×4: whether an area in square pixels lies outside each of the ranges."""
    return (areas[:, None] < AREAS[:, 0]) | (areas[:, None] > AREAS[:, 1])


def verdicts(overlap: Floats, found: Numbers, other: Flags, true: Numbers, ignored: Flags, crowd: Flags) -> Bytes:
    """N×4×10: what each of N detections, best first, is by area range and overlap threshold.

    overlap: N×M with M true ones · found, true: N and M labels · other: N×4, of another area · ignored: M×4, true
    ones that do not count · crowd: M, may be found any number of times.
    """
    result = np.where(other[:, :, None], NEITHER, np.full(len(OVERLAPS), WRONG)).astype(np.uint8)
    for label in np.unique(found):
        rows, columns = np.flatnonzero(found == label), np.flatnonzero(true == label)
        if len(columns):
            part = overlap[np.ix_(rows, columns)]
            result[rows] = _matched(result[rows], part, ignored[columns].T[:, None], crowd[columns])
    return result


def _matched(result: Bytes, overlap: Floats, ignored: Flags, crowd: Flags) -> Bytes:
    """Verdicts n×4×10 of a class's detections, in turn: each takes the free true one that it overlaps most."""
    free = np.ones((len(AREAS), len(OVERLAPS), len(crowd)), np.bool_)
    area, level = np.ogrid[: len(AREAS), : len(OVERLAPS)]
    for place in np.flatnonzero(overlap.max(axis=1) >= OVERLAPS[0]):
        reached = free & (overlap[place] >= OVERLAPS[:, None])
        counted = reached & ~ignored
        # one that does not count is taken only where none that counts is left
        candidates = np.where(counted.any(axis=2, keepdims=True), counted, reached)
        values = np.where(candidates, overlap[place], -1)
        best = len(crowd) - 1 - values[..., ::-1].argmax(axis=2)  # of equals the last
        taken = candidates.any(axis=2)
        verdict = np.where(ignored[:, 0][area, best], NEITHER, RIGHT)
        result[place] = np.where(taken, verdict, result[place])
        free[area, level, best] &= ~taken | crowd[best]
    return result


@dataclass(frozen=True)
class ClassEvidence:
    """One class over all images, its n detections best first.

    images: n, the row of each detection · rank: n, within class and image · judged: by area the different rows of n,
    whether a detection counts, and 10, which of them is that of an overlap · hits: by area and overlap the places of
    detections that are right · true_images, counted: m rows and m×4 whether each true one counts by area.
    """

    images: Numbers
    rank: Numbers
    judged: list[tuple[Flags, Numbers]]
    hits: list[list[Numbers]]
    true_images: Numbers
    counted: Flags

    def truths(self, counts: Counts) -> Numbers:
        """4: how many true ones there are by area range."""
        return np.asarray(counts[self.true_images] @ self.counted, np.int64)

    def precisions(self, counts: Counts) -> Floats:
        """4×10×101: the highest precision at each recall or beyond; NaN for areas without a true one."""
        weights = counts[self.images]
        result = np.full((len(AREAS), len(OVERLAPS), len(RECALLS)), np.nan)
        for area, total in enumerate(self.truths(counts)):
            if not total:
                continue
            rows, own = self.judged[area]
            answers = np.cumsum(rows * weights, axis=1)
            # in whole numbers: the fewest hits that make each recall
            needed = np.searchsorted(np.arange(total + 1) / total, RECALLS)
            for level, hits in enumerate(self.hits[area]):
                # precision is highest at a hit: false alarms between two only lower it
                found = np.cumsum(weights[hits])
                precision = found / (answers[own[level], hits] + np.spacing(1))
                highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
                result[area, level] = highest[np.searchsorted(found, needed)]
        return result

    def recalls(self, counts: Counts, most: int, area: int = 0) -> Floats:
        """10: the share of true ones found by the best `most` of an image; NaN without a true one."""
        total = self.truths(counts)[area]
        if not total:
            return np.full(len(OVERLAPS), np.nan)
        weights = counts[self.images] * (self.rank < most)
        return np.array([weights[hits].sum() for hits in self.hits[area]]) / total


def evidence(table: pa.Table, classes: int, column: str, most: int = MOST[-1]) -> list[ClassEvidence]:
    """What rows say of each class, by the best `most` detections of an image; `column` holds the verdicts."""
    label, score = (flat(table, name) for name in ("labels", "scores"))
    images = owners(table, "labels")
    rank = np.concatenate([np.zeros(0, np.int64), *(ranks(np.asarray(row)) for row in table["labels"].to_pylist())])
    verdict = unpacked(table, column, len(AREAS), len(OVERLAPS))
    true, counted = flat(table, "true_labels"), unpacked(table, "counted", len(AREAS)).astype(np.bool_)
    true_images = owners(table, "true_labels")
    result = []
    for number in range(classes):
        mine = of_class(number, label, score)
        mine = mine[rank[mine] < most]
        by_area = np.moveaxis(verdict[mine], 0, 2)
        judged = [np.unique(part != NEITHER, axis=0, return_inverse=True) for part in by_area]
        hits = [[np.flatnonzero(row == RIGHT) for row in part] for part in by_area]
        there = true == number
        result.append(ClassEvidence(images[mine], rank[mine], judged, hits, true_images[there], counted[there]))
    return result


def of_class(number: int, labels: Floats, scores: Floats) -> Numbers:
    """Places of the detections of a class, best first."""
    mine = np.flatnonzero(labels == number)
    return mine[np.argsort(-scores[mine], kind="stable")]


def flat(table: pa.Table, name: str) -> Floats:
    """The numbers of a column of lists, row after row."""
    return np.fromiter(chain.from_iterable(table[name].to_pylist()), np.float64)


def owners(table: pa.Table, name: str) -> Numbers:
    """The row that each of these numbers is of."""
    return np.repeat(np.arange(len(table)), [len(row) for row in table[name].to_pylist()])


def unpacked(table: pa.Table, name: str, *shape: int) -> Bytes:
    """The bytes of a column, row after row, in pieces of a shape."""
    return np.frombuffer(b"".join(table[name].to_pylist()), np.uint8).reshape(-1, *shape)


def scores(
    table: pa.Table, classes: tuple[str, ...], column: str = "verdicts", most: int = MOST[-1]
) -> Callable[[Counts], dict[str, Any]]:
    """A function of row counts that gives COCO's numbers and `AP[class]`; sizes that nothing has are left out.

    most: detections of an image and class that count. With other than COCO's 100 there is also their own recall.
    """
    known = evidence(table, len(classes), column, most)
    sizes = [place for place in SIZES if any(item.counted[:, place].any() for item in known)]

    def score(counts: Counts) -> dict[str, float]:
        precision = np.stack([item.precisions(counts).mean(axis=2) for item in known])

        def recall(number: int, area: int = 0) -> Floats:
            return np.stack([item.recalls(counts, number, area) for item in known])

        means = {
            "mAP": precision[:, 0],
            "AP50": precision[:, 0, 0],
            "AP75": precision[:, 0, 5],
            **{f"AP_{SIZES[place]}": precision[:, place] for place in sizes},
            **{f"AR{number}": recall(number) for number in sorted({*MOST, most}) if number <= most},
            **{f"AR_{SIZES[place]}": recall(most, place) for place in sizes},
            **{f"AP[{name}]": precision[place, 0] for place, name in enumerate(classes)},
        }
        return {name: mean(values) for name, values in means.items()}

    return score


def mean(values: Floats) -> float:
    """The mean of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
