"""Where an image lies in a network's square input, and the way back to the image's own pixels."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import boxes as geometry

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """An image in an input of side×side pixels.

    height, width: of the image in pixels · side: of the input · box: xyxy, the part of the input that the image fills,
    in the input's pixels; of a cropped image it reaches beyond the input.
    """

    height: int
    width: int
    side: int
    box: Box

    @property
    def fills(self) -> bool:
        """Whether the image fills the input, so that a fraction of the input's side is one of the image's."""
        return self.box == (0, 0, self.side, self.side)

    def of(self, height: int, width: int) -> "Placement":
        """The same of the image at another resolution."""
        return replace(self, height=height, width=width)

    def to_fractions(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """…×2 x and y, fractions of the input's side → of the image's width and height, outside it below 0 or over 1.

        Fractions mean the same at any resolution of the image.
        """
        if self.fills:
            return points
        left, top, right, bottom = self.box
        return np.asarray((points * self.side - [left, top]) / [right - left, bottom - top])

    def to_pixels(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """N×4 boxes in pixels of the input → in pixels of the image, not clipped to it."""
        left, top, right, bottom = self.box
        shifted = boxes - np.array([left, top, left, top], boxes.dtype)
        return geometry.scale(shifted, self.height / (bottom - top), self.width / (right - left))

    def cells(self, rows: int, columns: int) -> Box:
        """The box in cells of a map of the input: columns, rows, columns, rows, within the map."""
        left, top, right, bottom = self.box
        across, down = columns / self.side, rows / self.side
        return max(0, left * across), max(0, top * down), min(columns, right * across), min(rows, bottom * down)


def cropped(values: NDArray[Any], box: Box) -> tuple[NDArray[Any], Box]:
    """The cells of a map …×h×w that a box touches, and the box within these.

    What is then interpolated within the box uses no other cells.
    """
    left, top, right, bottom = box
    first, above = math.floor(left), math.floor(top)
    part = values[..., above : math.ceil(bottom), first : math.ceil(right)]
    return part, (left - first, top - above, right - first, bottom - above)
