"""Random homographies, of which affine maps are a special case.

Coordinates are (x, y) in pixels of the image that is `height`×`width`, from (0, 0) at its upper left corner to
(width, height); the centre of the first pixel is at (0.5, 0.5). Boxes use the same coordinates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class RandomHomography:
    """With probability p, the 3×3 matrix that `sample(generator, height, width)` gives."""

    sample: Callable[[np.random.Generator, int, int], Matrix]
    p: float

    def __post_init__(self) -> None:
        within(0, 1, p=self.p)


def within(low: float, high: float, **values: float) -> None:
    """Raise a ValueError that names the option whose value is out of range."""
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, not within {low} to {high}")


def about_centre(across: tuple[float, float], down: tuple[float, float], height: int, width: int) -> Matrix:
    """The linear map with rows `across` (new x) and `down` (new y) that keeps the image's centre."""
    (a, b), (c, d), x, y = across, down, width / 2, height / 2
    return np.array([[a, b, x - a * x - b * y], [c, d, y - c * x - d * y], [0, 0, 1]])
