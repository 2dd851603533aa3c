"""Linear filters of one channel in numpy: every sum is written out, and the tests compare them with libraries.

Images and kernels are H×W and h×w float64. By default a result has only the positions where the kernel lies wholly
inside the image, (H−h+1)×(W−w+1); `full` pads the image with zeros and gives (H+h−1)×(W+w−1).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]


def correlate(kernel: Array, image: Array, *, full: bool = False) -> Array:
    """(w ⋆ x)[i, j] = Σ w[a, b] · x[i + a, j + b]: what deep learning calls convolution."""
    if full:
        height, width = kernel.shape
        image = np.pad(image, ((height - 1, height - 1), (width - 1, width - 1)))
    return np.asarray(np.einsum("ijab,ab->ij", sliding_window_view(image, kernel.shape), kernel))


def convolve(kernel: Array, image: Array, *, full: bool = False) -> Array:
    """(w ∗ x)[i, j] = Σ w[a, b] · x[i − a, j − b]: correlation with the kernel rotated by 180°."""
    return correlate(kernel[::-1, ::-1], image, full=full)


def box(side: int) -> Array:
    """A side×side kernel of equal weights whose sum is 1."""
    return np.full((side, side), 1 / side**2)


def gaussian(sigma: float) -> Array:
    """A Gaussian kernel, truncated at three sigma (in pixels); the sum of its weights is 1."""
    radius = int(np.ceil(3 * sigma))
    profile = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = np.outer(profile, profile)
    return np.asarray(weights / weights.sum())


def bed_of_nails(image: Array, stride: int) -> Array:
    """Unpooling with stride − 1 zeros between neighbouring pixels: (stride·(H−1)+1)×(stride·(W−1)+1)."""
    height, width = image.shape
    unpooled = np.zeros((stride * (height - 1) + 1, stride * (width - 1) + 1))
    unpooled[::stride, ::stride] = image
    return unpooled


def transposed_convolve(kernel: Array, image: Array, stride: int) -> Array:
    """Add the kernel times each pixel's value into the output, `stride` positions from the neighbour's."""
    (kernel_height, kernel_width), (height, width) = kernel.shape, image.shape
    output = np.zeros((stride * (height - 1) + kernel_height, stride * (width - 1) + kernel_width))
    for (row, column), value in np.ndenumerate(image):
        top, left = stride * row, stride * column
        output[top : top + kernel_height, left : left + kernel_width] += value * kernel
    return output


def global_average(feature_maps: Array) -> Array:
    """K×H×W → K: the mean of each feature map."""
    return np.asarray(feature_maps.sum(axis=(1, 2)) / (feature_maps.shape[1] * feature_maps.shape[2]))
