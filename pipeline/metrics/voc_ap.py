"""PASCAL VOC's average precision at an overlap of one half, as papers before COCO report it.

Everingham, Van Gool, Williams, Winn, Zisserman: The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010,
http://host.robots.ox.ac.uk/pascal/VOC/pubs/everingham10.pdf; the rule is that of the development kit's VOCevaldet.m.

Matching differs from COCO's. A detection is assigned to the true object that it overlaps most, whether or not that one
is already matched. Of the detections assigned to one object, that of the highest score is a true positive and the
others are false positives, even if another object is unmatched. All detections assigned to a difficult object are
ignored. There is no limit of detections per image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.bootstrap import Counts
from pipeline.metrics.coco_ap import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    Bytes,
    Flags,
    Floats,
    Numbers,
    flatten,
    indices_of_class,
    mean,
    row_indices,
    unpack,
)

#: minimum overlap of a true positive
OVERLAP = 0.5
#: VOC 2007 averages the precision at recalls 0, 1/10, … 1
TENTHS = np.arange(11)


def match_detections(overlap: Floats, labels: Numbers, true_labels: Numbers, difficult: Flags, crowd: Flags) -> Bytes:
    """Match N detections, by descending score, to M true objects of an image.

    Args:
        overlap: N×M.
        labels: N, of the detections.
        true_labels: M.
        difficult: M, whether a true object is not scored.
        crowd: M. VOC has no crowds: here an unmatched detection inside a crowd is ignored.

    Returns:
        N matches: FALSE_POSITIVE, TRUE_POSITIVE or IGNORED.
    """
    matches = np.full(len(labels), FALSE_POSITIVE, np.uint8)
    for label in np.unique(labels):
        rows, same_class = np.flatnonzero(labels == label), true_labels == label
        crowds, objects = overlap[np.ix_(rows, same_class & crowd)], np.flatnonzero(same_class & ~crowd)
        matches[rows[(crowds >= OVERLAP).any(axis=1)]] = IGNORED
        if len(objects):
            part = overlap[np.ix_(rows, objects)]
            reached = np.flatnonzero(part.max(axis=1) >= OVERLAP)
            best = objects[part[reached].argmax(axis=1)]
            first = np.zeros(len(reached), np.bool_)
            first[np.unique(best, return_index=True)[1]] = True
            matches[rows[reached]] = np.where(difficult[best], IGNORED, np.where(first, TRUE_POSITIVE, FALSE_POSITIVE))
    return matches


@dataclass(frozen=True)
class ClassMatches:
    """Matches of one class over all images: n detections by descending score, m true objects that are scored.

    images: n, the row of each detection · true_positive, false_positive: n · true_images: m, the row of each object.
    """

    images: Numbers
    true_positive: Flags
    false_positive: Flags
    true_images: Numbers

    def averages(self, counts: Counts) -> tuple[float, float]:
        """Average precision of VOC 2007, and of VOC 2010 and later; NaN without true objects."""
        total = int(counts[self.true_images].sum())
        if not total:
            return float("nan"), float("nan")
        weights = counts[self.images]
        true_positives = np.cumsum(self.true_positive * weights)
        false_positives = np.cumsum(self.false_positive * weights)
        precision = true_positives / np.maximum(true_positives + false_positives, 1)
        highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        # in whole numbers, as 3 of 10 is less than 3 times a rounded tenth
        at_tenths = highest[np.searchsorted(true_positives, -(-TENTHS * total // 10))]
        return float(at_tenths.mean()), float((self.true_positive * weights) @ highest[:-1] / total)


def scores(table: pa.Table, classes: int, column: str = "box_voc_matches") -> Callable[[Counts], dict[str, Any]]:
    """A function from row counts to `AP50_voc07`, by eleven recalls, and `AP50_voc10`, by all."""
    labels, confidences, true_labels = (flatten(table, name) for name in ("labels", "scores", "true_labels"))
    images, true_images = row_indices(table, "labels"), row_indices(table, "true_labels")
    matches, counted = unpack(table, column), unpack(table, "counted", 4)[:, 0].astype(np.bool_)
    by_class = []
    for label in range(classes):
        indices = indices_of_class(label, labels, confidences)
        match = matches[indices]
        objects = true_images[(true_labels == label) & counted]
        by_class.append(ClassMatches(images[indices], match == TRUE_POSITIVE, match == FALSE_POSITIVE, objects))

    def score(counts: Counts) -> dict[str, float]:
        averages = np.array([item.averages(counts) for item in by_class])
        return {"AP50_voc07": mean(averages[:, 0]), "AP50_voc10": mean(averages[:, 1])}

    return score
