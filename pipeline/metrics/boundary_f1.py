"""Boundary F1: how closely a class's predicted contour follows the true one, whatever the class's area.

Csurka et al. 2013, https://doi.org/10.5244/C.27.32. Precision is the fraction of a class's predicted border pixels
within 0.75 % of the image's diagonal of a true one, recall the fraction of true border pixels within that distance of a
predicted one; F1 is their harmonic mean. Csurka argues for scores per image: SegNet's BF (Badrinarayanan et al. 2017,
https://arxiv.org/abs/1511.00561, section 3.3) is the mean over an image's classes, then over images, as is MATLAB's
evaluateSemanticSegmentation. This one is too, with two differences: a class that is predicted but absent from the image
counts as 0, whereas SegNet averages over present classes only; and the image's edge is not a border.
"""

from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import distances
from pipeline.sample import IGNORE

Ids = NDArray[np.uint8]
Mask = NDArray[np.bool_]
#: fraction of the image's diagonal
TOLERANCE = 0.0075


def boundary_f1(truth: Ids, predicted: Ids, classes: int) -> NDArray[np.float64]:
    """F1 by class, K, of one image's H×W ids; nan for a class without a true or predicted border.

    The image's edge and pixels next to void ones (255) are not borders.
    """
    tolerance = TOLERANCE * hypot(*truth.shape)
    valid, f1 = truth != IGNORE, np.full(classes, np.nan)
    edges = _edges(truth, valid), _edges(predicted, valid)
    for value in np.union1d(truth[edges[0]], predicted[edges[1]]):
        true_edge, predicted_edge = (edge & (ids == value) for edge, ids in zip(edges, (truth, predicted), strict=True))
        left, top, wide, high = cv2.boundingRect((true_edge | predicted_edge).astype(np.uint8))
        window = np.s_[top : top + high, left : left + wide]
        true_edge, predicted_edge = true_edge[window], predicted_edge[window]
        if not (true_edge.any() and predicted_edge.any()):
            f1[value] = 0
            continue
        precision = _fraction_near(predicted_edge, true_edge, tolerance)
        recall = _fraction_near(true_edge, predicted_edge, tolerance)
        f1[value] = 2 * precision * recall / max(precision + recall, 1e-12)
    return f1


def _edges(ids: Ids, valid: Mask) -> Mask:
    """Pixels with a 4-connected neighbour of another id, both valid."""
    edges = np.zeros(ids.shape, np.bool_)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (ids[here] != ids[there]) & valid[here] & valid[there]
        edges[here] |= differ
        edges[there] |= differ
    return edges


def _fraction_near(mask: Mask, other: Mask, tolerance: float) -> float:
    """The fraction of pixels of `mask` at most `tolerance` pixels away from one of `other`."""
    return float((distances.to_mask(other)[mask] <= tolerance).mean())
