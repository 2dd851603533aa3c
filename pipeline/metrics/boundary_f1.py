"""Boundary F1: how well the borders of a class are met, whatever its area.

Csurka et al. 2013, https://doi.org/10.5244/C.27.32. Of a class's border pixels, precision is the share of the predicted
that lie within 0.75 % of the image's diagonal of a true one, recall the share of the true that lie so near to a
predicted one; F1 is their harmonic mean. Csurka argues for scores by image: SegNet's BF (Badrinarayanan et al. 2017,
https://arxiv.org/abs/1511.00561, section 3.3) is the mean over an image's classes, then over images, and so is the one
of MATLAB's evaluateSemanticSegmentation. Ours too, with two choices of our own. A class that is predicted and not there
counts as 0, where SegNet averages the classes that are there; and an image's edge is no border.
"""

from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.sample import IGNORE

Ids = NDArray[np.uint8]
Mask = NDArray[np.bool_]
#: of the diagonal
TOLERANCE = 0.0075


def boundary_f1(truth: Ids, predicted: Ids, classes: int) -> NDArray[np.float64]:
    """F1 by class, K, of one image's H×W ids; nan where a class has no border, neither true nor predicted.

    The image's own edge and what lies at a void pixel (255) are no borders.
    """
    reach = TOLERANCE * hypot(*truth.shape)
    known, found = truth != IGNORE, np.full(classes, np.nan)
    edges = _edges(truth, known), _edges(predicted, known)
    for value in np.union1d(truth[edges[0]], predicted[edges[1]]):
        right, guess = (edge & (ids == value) for edge, ids in zip(edges, (truth, predicted), strict=True))
        left, top, wide, high = cv2.boundingRect((right | guess).astype(np.uint8))
        right, guess = (mask[top : top + high, left : left + wide] for mask in (right, guess))
        if not (right.any() and guess.any()):
            found[value] = 0
            continue
        precision, recall = _near(guess, right, reach), _near(right, guess, reach)
        found[value] = 2 * precision * recall / max(precision + recall, 1e-12)
    return found


def _edges(ids: Ids, known: Mask) -> Mask:
    """Pixels beside (4-connected) one of another id, both known."""
    edges = np.zeros(ids.shape, np.bool_)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (ids[here] != ids[there]) & known[here] & known[there]
        edges[here] |= differ
        edges[there] |= differ
    return edges


def _near(some: Mask, others: Mask, reach: float) -> float:
    """The share of `some` pixels that are no further than `reach` from one of `others`."""
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance[some] <= reach).mean())
