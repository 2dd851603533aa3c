"""What kind each error of a detector is, and how much average precision it costs.

Bolya et al.: TIDE, A General Toolbox for Identifying Object Detection Errors, 2020, https://arxiv.org/abs/2008.08115.

Promise: its six kinds at overlaps of 0.5 and 0.1. A false positive has the wrong class (it overlaps an object of
another by 0.5), the wrong place (an object of its class by 0.1 to 0.5), both, is a duplicate of a detection of the same
object, or shows background; an object is missed if no detection finds it, nor would by another class or place. The cost
of a kind is what AP50 would gain if its errors were corrected: detections of a wrong class or place find their object
if it is free, the best of them alone; others are removed; missed objects do not count.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.metrics.coco_ap import (
    AREAS,
    FALSE_POSITIVE,
    LIMITS,
    OVERLAPS,
    RECALLS,
    TRUE_POSITIVE,
    Bytes,
    Flags,
    Floats,
    Numbers,
    flatten,
    mean,
    ranks,
    row_indices,
    unpack,
)

FOUND, BACKGROUND = 0.5, 0.1
#: by number; 0 is no error
KINDS = {1: "class", 2: "place", 3: "class and place", 4: "duplicate", 5: "background", 6: "missed"}
OF_CLASS, OF_PLACE, OF_BOTH, DUPLICATE, OF_BACKGROUND, MISSED = KINDS


class Errors(NamedTuple):
    """The errors of an image.

    kinds: N, 0 where a detection is no error · corrected: N, the index of the true object that a detection would find
    if it were corrected; -1 where it would be removed, or is no error · missed: M, MISSED or 0.
    """

    kinds: Bytes
    corrected: Numbers
    missed: Bytes


def classify(overlap: Floats, labels: Numbers, matches: Bytes, true_labels: Numbers, counted: Flags) -> Errors:
    """Tell the errors of an image apart.

    Args:
        overlap: N×M, of detections by descending score and true objects.
        labels: N, of the detections.
        matches: N, at an overlap of 0.5 and all areas (coco_ap.py).
        true_labels: M.
        counted: M, whether a true object is scored.
    """
    detected = _detected(overlap, labels, matches, true_labels, counted)
    same = (labels[:, None] == true_labels) & counted
    other = (labels[:, None] != true_labels) & counted
    own, foreign, used, any_object = (
        np.where(flags, overlap, 0).max(axis=1, initial=0) for flags in (same, other, same & detected, counted[None])
    )
    tests = {
        OF_PLACE: (own >= BACKGROUND) & (own <= FOUND),
        OF_CLASS: foreign >= FOUND,
        DUPLICATE: used >= FOUND,
        OF_BACKGROUND: any_object <= BACKGROUND,
    }
    kinds = np.select(list(tests.values()), list(tests), OF_BOTH).astype(np.uint8)
    kinds[matches != FALSE_POSITIVE] = 0
    corrected, covered = np.full(len(labels), -1), detected.copy()
    for kind, flags in ((OF_PLACE, same), (OF_CLASS, other)):
        of_kind = np.flatnonzero(kinds == kind)
        objects = np.where(flags, overlap, -1)[of_kind].argmax(axis=1) if len(of_kind) else of_kind
        covered[objects] = True
        best, first = np.unique(objects, return_index=True)
        corrected[of_kind[first[~detected[best]]]] = best[~detected[best]]
    return Errors(kinds, corrected, np.where(counted & ~covered, MISSED, 0).astype(np.uint8))


def _detected(overlap: Floats, labels: Numbers, matches: Bytes, true_labels: Numbers, counted: Flags) -> Flags:
    """M: the objects that true positives have found; each in turn takes the free one that it overlaps most."""
    detected = np.zeros(len(true_labels), np.bool_)
    for index in np.flatnonzero(matches == TRUE_POSITIVE):
        values = np.where(counted & ~detected & (true_labels == labels[index]), overlap[index], -1)
        detected[len(values) - 1 - values[::-1].argmax()] = True
    return detected


def costs(table: pa.Table, classes: int, column: str = "box_matches", limit: int = LIMITS[-1]) -> dict[str, float]:
    """What AP50 would gain without the errors of each kind; NaN without true objects.

    table: rows with what coco_ap.py needs, and what `classify` returns as `errors`, `corrected` and `missed` · column:
    holds the matches of which the errors are · limit: detections per image and class.
    """
    detections = _Detections(table, column, limit)
    before = detections.precision(classes)
    return {name: detections.precision(classes, kind) - before for kind, name in KINDS.items()}


class _Detections:
    """All detections and true objects of a table, flat."""

    def __init__(self, table: pa.Table, column: str, limit: int) -> None:
        rows = table["labels"].to_pylist()
        kept = np.concatenate([np.zeros(0, np.bool_), *(ranks(np.asarray(row)) < limit for row in rows)])
        self.labels, self.scores, self.corrected = (
            flatten(table, name)[kept] for name in ("labels", "scores", "corrected")
        )
        self.errors, self.missed = unpack(table, "errors")[kept], unpack(table, "missed")
        self.matches = unpack(table, column, len(AREAS), len(OVERLAPS))[kept, 0, 0]
        self.true_labels = flatten(table, "true_labels")
        self.counted = unpack(table, "counted", len(AREAS))[:, 0].astype(np.bool_)
        starts = np.cumsum([0, *(len(row) for row in table["true_labels"].to_pylist())])
        self.first_object = starts[row_indices(table, "labels")][kept]

    def precision(self, classes: int, corrected: int = 0) -> float:
        """AP50, the mean over classes, with the errors of a kind corrected."""
        is_corrected = (self.errors == corrected) & (corrected > 0)
        target = (self.first_object + self.corrected).astype(np.int64)
        gets_object = is_corrected & (self.corrected >= 0)
        labels = self.labels.copy()
        labels[gets_object] = self.true_labels[target[gets_object]]
        positive = (self.matches == TRUE_POSITIVE) | gets_object
        kept = positive | ((self.matches == FALSE_POSITIVE) & ~is_corrected)
        counted = self.counted & ~((self.missed == MISSED) & (corrected == MISSED))
        values = []
        for label in range(classes):
            chosen = np.flatnonzero(kept & (labels == label))
            chosen = chosen[np.argsort(-self.scores[chosen], kind="stable")]
            values.append(_average_precision(positive[chosen], int((self.true_labels[counted] == label).sum())))
        return mean(np.array(values))


def _average_precision(positive: Flags, total: int) -> float:
    """COCO's, at 101 recalls, of flags by descending score."""
    if not total:
        return float("nan")
    hits = np.cumsum(positive)
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    at = np.searchsorted(hits / total, RECALLS)
    return float(np.append(precision, 0)[at].mean())
