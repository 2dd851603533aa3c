"""PASCAL VOC's average precision at half overlap, as the papers before COCO report it.

Everingham, Van Gool, Williams, Winn, Zisserman: The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010,
http://host.robots.ox.ac.uk/pascal/VOC/pubs/everingham10.pdf; the rule is that of the development kit's VOCevaldet.m.

Matching is not COCO's. A detection belongs to the true one that it overlaps most, whether or not that is taken; of
those that belong to one, the surest is right, and the others are false alarms though another true one were free.
What belongs to a difficult one is neither, however many. All stored detections count: VOC has no most of an image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.bootstrap import Counts
from pipeline.metrics.coco_ap import (
    NEITHER,
    RIGHT,
    WRONG,
    Bytes,
    Flags,
    Floats,
    Numbers,
    flat,
    mean,
    of_class,
    owners,
    unpacked,
)

#: from this overlap on a detection can be right
OVERLAP = 0.5
#: VOC 2007 asks for the precision at recalls of 0, 1/10, … 1
TENTHS = np.arange(11)


def verdicts(overlap: Floats, found: Numbers, true: Numbers, difficult: Flags, crowd: Flags) -> Bytes:
    """N: what each of N detections, best first, is.

    overlap: N×M with M true ones · found, true: N and M labels · difficult: M, do not count · crowd: M. VOC has no
    crowds: here a detection that overlaps no true one enough is neither if it lies in a crowd.
    """
    result = np.full(len(found), WRONG, np.uint8)
    for label in np.unique(found):
        rows, mine = np.flatnonzero(found == label), true == label
        crowds, things = overlap[np.ix_(rows, mine & crowd)], np.flatnonzero(mine & ~crowd)
        result[rows[(crowds >= OVERLAP).any(axis=1)]] = NEITHER
        if len(things):
            part = overlap[np.ix_(rows, things)]
            reached = np.flatnonzero(part.max(axis=1) >= OVERLAP)
            best = things[part[reached].argmax(axis=1)]
            first = np.zeros(len(reached), np.bool_)
            first[np.unique(best, return_index=True)[1]] = True
            result[rows[reached]] = np.where(difficult[best], NEITHER, np.where(first, RIGHT, WRONG))
    return result


@dataclass(frozen=True)
class ClassEvidence:
    """One class over all images: rows of its n detections, best first, what they are, and rows of what counts."""

    images: Numbers
    right: Flags
    wrong: Flags
    true_images: Numbers

    def averages(self, counts: Counts) -> tuple[float, float]:
        """Average precision of VOC 2007 and of 2010 and later; NaN without a true one."""
        total = int(counts[self.true_images].sum())
        if not total:
            return float("nan"), float("nan")
        weights = counts[self.images]
        hits, alarms = np.cumsum(self.right * weights), np.cumsum(self.wrong * weights)
        precision = hits / np.maximum(hits + alarms, 1)
        highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        # in whole numbers, as 3 of 10 is less than 3 times a rounded tenth
        at_tenths = highest[np.searchsorted(hits, -(-TENTHS * total // 10))]
        return float(at_tenths.mean()), float((self.right * weights) @ highest[:-1] / total)


def scores(table: pa.Table, classes: int, column: str = "voc_verdicts") -> Callable[[Counts], dict[str, Any]]:
    """A function of row counts that gives `AP50_voc07`, by eleven points, and `AP50_voc10`, by all."""
    label, score, true = (flat(table, name) for name in ("labels", "scores", "true_labels"))
    images, true_images = owners(table, "labels"), owners(table, "true_labels")
    judged, counted = unpacked(table, column), unpacked(table, "counted", 4)[:, 0].astype(np.bool_)
    known = []
    for number in range(classes):
        mine = of_class(number, label, score)
        verdict = judged[mine]
        there = true_images[(true == number) & counted]
        known.append(ClassEvidence(images[mine], verdict == RIGHT, verdict == WRONG, there))

    def averaged(counts: Counts) -> dict[str, float]:
        averages = np.array([item.averages(counts) for item in known])
        return {"AP50_voc07": mean(averages[:, 0]), "AP50_voc10": mean(averages[:, 1])}

    return averaged
