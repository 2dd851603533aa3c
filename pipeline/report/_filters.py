"""Linear filters of one channel, written out in numpy, so that a reader sees every sum and the tests another's result.

Images and kernels are H×W and h×w float64. By default a result has only the places where the kernel lies wholly on
the image, (H−h+1)×(W−w+1); `full` takes zeros around the image, and gives (H+h−1)×(W+w−1).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Map = NDArray[np.float64]


def correlation(kernel: Map, image: Map, *, full: bool = False) -> Map:
    """(w ⋆ x)[i, j] = Σ w[a, b] · x[i + a, j + b]: what deep learning calls convolution."""
    if full:
        (high, wide) = kernel.shape
        image = np.pad(image, ((high - 1, high - 1), (wide - 1, wide - 1)))
    return np.asarray(np.einsum("ijab,ab->ij", sliding_window_view(image, kernel.shape), kernel))


def convolution(kernel: Map, image: Map, *, full: bool = False) -> Map:
    """(w ∗ x)[i, j] = Σ w[a, b] · x[i − a, j − b]: correlation with the kernel turned by 180°."""
    return correlation(kernel[::-1, ::-1], image, full=full)


def box(side: int) -> Map:
    """Equal weights whose sum is 1."""
    return np.full((side, side), 1 / side**2)


def gaussian(sigma: float) -> Map:
    """Weights that fall with the distance from the centre, cut off at three sigma (in pixels); their sum is 1."""
    reach = int(np.ceil(3 * sigma))
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = np.outer(line, line)
    return np.asarray(weights / weights.sum())


def bed_of_nails(image: Map, stride: int) -> Map:
    """Each pixel with stride − 1 zeros between it and the next: (stride·(H−1)+1)×(stride·(W−1)+1)."""
    height, width = image.shape
    spread = np.zeros((stride * (height - 1) + 1, stride * (width - 1) + 1))
    spread[::stride, ::stride] = image
    return spread


def transposed_convolution(kernel: Map, image: Map, stride: int) -> Map:
    """Each pixel lays down the kernel times its value, `stride` places from its neighbour's; overlaps add up."""
    (high, wide), (height, width) = kernel.shape, image.shape
    result = np.zeros((stride * (height - 1) + high, stride * (width - 1) + wide))
    for (row, column), value in np.ndenumerate(image):
        top, left = stride * row, stride * column
        result[top : top + high, left : left + wide] += value * kernel
    return result


def global_average(maps: Map) -> Map:
    """K×H×W → K: the mean of each map, wherever in it something was found."""
    return np.asarray(maps.sum(axis=(1, 2)) / (maps.shape[1] * maps.shape[2]))
