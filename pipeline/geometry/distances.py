"""Distances of pixels to a mask, equal to the last bit on every machine."""

import cv2
import numpy as np
from numpy.typing import NDArray


def to_mask(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The Euclidean distance of each pixel's centre to the nearest of the mask, H×W; 0 inside.

    OpenCV's distances differ in their last bit with the alignment of memory and the number of threads. Their squares
    are whole numbers, of which the root is exact.
    """
    rounded = cv2.distanceTransform((~mask).astype(np.uint8, order="C"), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(np.square(rounded, dtype=np.float64))).astype(np.float32)
