"""COCO's similarity of key points, which stands where boxes have their overlap.

https://cocodataset.org/#keypoints-eval; the rules are those of
https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/cocoeval.py.

Promise: pycocotools' numbers to 1e-9. A point's similarity is exp(-d² / 2s²k²): d its distance to the true one, s² the
thing's area, k twice the point's own spread among annotators; a thing's is the mean over its labelled points. A thing
without any neither helps nor harms.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from pipeline.learners.detector import Detections, GroundTruth, enlarged
from pipeline.sample import Sample

Floats = NDArray[np.float64]
#: spread of each of COCO's points of a person, nose to ankles, as a share of the root of the person's area
PERSON = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
#: spread of any other point
USUAL = 0.05
#: detections of an image and class that count
MOST = 20


def spreads(count: int) -> Floats:
    """COCO's own for as many points as its persons have, else the same for all."""
    return PERSON if count == len(PERSON) else np.full(count, USUAL)


def similarity(found: Floats, true: Floats, boxes: Floats, areas: Floats) -> Floats:
    """N×M similarity of N found with M true things.

    found: N×K×2 · true: M×K×3 with visibility · boxes: M×4, areas: M, all in one image's pixels. Of a thing without
    labelled points, the points count that lie beyond its box three times as large.
    """
    labelled: NDArray[np.bool_] = np.asarray(true[..., 2] > 0)
    known: NDArray[np.bool_] = np.asarray(labelled.any(axis=1))
    sides = boxes[:, 2:] - boxes[:, :2]
    low, high = boxes[:, None, :2] - sides[:, None], boxes[:, None, 2:] + sides[:, None]
    beyond = np.maximum(low - found[:, None], 0) + np.maximum(found[:, None] - high, 0)
    apart = np.where(known[:, None, None], found[:, None] - true[..., :2], beyond)
    scale = 2 * (2 * spreads(true.shape[1])) ** 2 * (areas[:, None] + np.spacing(1))
    close = np.exp(-(apart**2).sum(axis=3) / scale)
    counting = labelled | ~known[:, None]
    return np.asarray((close * counting).sum(axis=2) / counting.sum(axis=1))


def areas(found: Floats) -> Floats:
    """N: the area of the box around each thing's points, N×K×2."""
    return np.asarray(np.ptp(found, axis=1).prod(axis=1))


def counting(truth: GroundTruth) -> GroundTruth:
    """The same, where what has no labelled point does not count."""
    if truth.points is None:
        return truth
    return dataclasses.replace(truth, ignored=truth.ignored | ~(truth.points[..., 2] > 0).any(axis=1))


def overlap(found: Detections, truth: GroundTruth, sample: Sample) -> Floats:
    """N×M similarity of what is found and what there is in an image."""
    places = found.places(*sample.pixels.shape[:2])[..., :2]
    true = np.zeros((0, places.shape[1], 3)) if truth.points is None else truth.points
    return similarity(places, true, truth.boxes, truth.areas / enlarged(sample))
