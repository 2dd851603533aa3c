"""COCO's object keypoint similarity (OKS), which replaces the overlap of boxes when keypoints are scored.

https://cocodataset.org/#keypoints-eval; the rules are those of
https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/cocoeval.py.

Promise: pycocotools' numbers to 1e-9. The similarity of a keypoint is exp(-d² / 2s²k²): d is its distance from the true
one, s² the object's area, k twice the keypoint's standard deviation among annotators. The similarity of an object is
the mean over its labelled keypoints. Objects without labelled keypoints are ignored.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from pipeline.learners.detector import Detections, GroundTruth, area_scale
from pipeline.sample import Sample

Floats = NDArray[np.float64]
#: standard deviation of each of COCO's 17 keypoints of a person, nose to ankles, as a fraction of √area
PERSON = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
#: standard deviation of any other keypoint
DEFAULT_DEVIATION = 0.05
#: limit of detections per image and class
LIMIT = 20


def deviations(count: int) -> Floats:
    """Standard deviations of `count` keypoints: COCO's of a person for 17, else the same for all."""
    return PERSON if count == len(PERSON) else np.full(count, DEFAULT_DEVIATION)


def similarity(keypoints: Floats, true: Floats, boxes: Floats, areas: Floats) -> Floats:
    """N×M similarity of N detections with M true objects, all in pixels of one image.

    If an object has no labelled keypoints, distances are those outside its box enlarged three times.

    Args:
        keypoints: N×K×2, of the detections.
        true: M×K×3, with visibility.
        boxes: M×4 xyxy, of the true objects.
        areas: M, of the true objects.
    """
    labelled: NDArray[np.bool_] = np.asarray(true[..., 2] > 0)
    any_labelled: NDArray[np.bool_] = np.asarray(labelled.any(axis=1))
    sides = boxes[:, 2:] - boxes[:, :2]
    low, high = boxes[:, None, :2] - sides[:, None], boxes[:, None, 2:] + sides[:, None]
    outside = np.maximum(low - keypoints[:, None], 0) + np.maximum(keypoints[:, None] - high, 0)
    offset = np.where(any_labelled[:, None, None], keypoints[:, None] - true[..., :2], outside)
    scale = 2 * (2 * deviations(true.shape[1])) ** 2 * (areas[:, None] + np.spacing(1))
    similarities = np.exp(-(offset**2).sum(axis=3) / scale)
    counted = labelled | ~any_labelled[:, None]
    return np.asarray((similarities * counted).sum(axis=2) / counted.sum(axis=1))


def areas(keypoints: Floats) -> Floats:
    """N: the area of the bounding box of each detection's keypoints N×K×2."""
    return np.asarray(np.ptp(keypoints, axis=1).prod(axis=1))


def ignore_unlabelled(truth: GroundTruth) -> GroundTruth:
    """The same truth, with objects without labelled keypoints ignored."""
    if truth.keypoints is None:
        return truth
    return dataclasses.replace(truth, ignored=truth.ignored | ~(truth.keypoints[..., 2] > 0).any(axis=1))


def overlap(detections: Detections, truth: GroundTruth, sample: Sample) -> Floats:
    """N×M similarity of an image's detections with its true objects."""
    keypoints = detections.keypoints_in_pixels(*sample.pixels.shape[:2])[..., :2]
    true = np.zeros((0, keypoints.shape[1], 3)) if truth.keypoints is None else truth.keypoints
    return similarity(keypoints, true, truth.boxes, truth.areas / area_scale(sample))
