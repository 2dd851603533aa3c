"""The operations of RandAugment (Cubuk et al. 2020, https://arxiv.org/abs/1909.13719), at strengths within -1 to 1.

A strength of 1 is the paper's magnitude 10. Where an operation has two directions, the sign is the direction, else it
counts not. Those of colors are Pillow's, as in the paper; those that move pixels are homographies, which annotations
follow.
"""

from collections.abc import Callable, Sequence
from math import cos, radians, sin
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from pipeline import plugins
from pipeline.augment.transforms.parts.affine import Matrix, RandomHomography, about_centre
from pipeline.augment.transforms.parts.operations import Operation, PixelFunction
from pipeline.images import Pixels

#: at strength 1: degrees, the tangent of an angle, the fraction of a side, and the change of a factor
ROTATION, SHEAR, SHIFT, FACTOR = 30.0, 0.3, 0.45, 0.9


def chosen(names: Sequence[str]) -> list[str]:
    """The names, or, if there are none, those of all operations; ValueError if one does not exist."""
    for name in names:
        if name not in OPERATIONS:
            raise ValueError(f"operations: {plugins.unknown('operation', name, OPERATIONS)}")
    return list(names or OPERATIONS)


def _identity(pixels: Pixels) -> Pixels:
    return pixels


def _of_pillow(change: Callable[[Image.Image], Image.Image]) -> PixelFunction:
    return lambda pixels: np.asarray(change(Image.fromarray(pixels)))


def _enhanced(enhancer: Callable[[Image.Image], Any], strength: float) -> PixelFunction:
    return _of_pillow(lambda image: enhancer(image).enhance(1 + FACTOR * strength))


def _posterized(strength: float) -> PixelFunction:
    """Of 8 bits, 4 at strength 1."""
    return _of_pillow(lambda image: ImageOps.posterize(image, 8 - round(4 * abs(strength))))


def _solarized(strength: float) -> PixelFunction:
    """Values from a threshold on are inverted: none at strength 0, all at strength 1."""
    return _of_pillow(lambda image: ImageOps.solarize(image, round(256 * (1 - abs(strength)))))


def _linear(across: tuple[float, float], down: tuple[float, float]) -> RandomHomography:
    return RandomHomography(lambda _, height, width: about_centre(across, down, height, width), 1.0)


def _rotated(strength: float) -> RandomHomography:
    angle = radians(ROTATION * strength)
    return _linear((cos(angle), -sin(angle)), (sin(angle), cos(angle)))


def _shifted(across: float, down: float) -> RandomHomography:
    def sample(_: np.random.Generator, height: int, width: int) -> Matrix:
        return np.array([[1, 0, SHIFT * across * width], [0, 1, SHIFT * down * height], [0, 0, 1]])

    return RandomHomography(sample, 1.0)


#: name → the operation at a strength
OPERATIONS: dict[str, Callable[[float], Operation]] = {
    "identity": lambda strength: _identity,
    "auto_contrast": lambda strength: _of_pillow(ImageOps.autocontrast),
    "equalize": lambda strength: _of_pillow(ImageOps.equalize),
    "rotate": _rotated,
    "solarize": _solarized,
    "color": lambda strength: _enhanced(ImageEnhance.Color, strength),
    "posterize": _posterized,
    "contrast": lambda strength: _enhanced(ImageEnhance.Contrast, strength),
    "brightness": lambda strength: _enhanced(ImageEnhance.Brightness, strength),
    "sharpness": lambda strength: _enhanced(ImageEnhance.Sharpness, strength),
    "shear_x": lambda strength: _linear((1, SHEAR * strength), (0, 1)),
    "shear_y": lambda strength: _linear((1, 0), (SHEAR * strength, 1)),
    "translate_x": lambda strength: _shifted(strength, 0),
    "translate_y": lambda strength: _shifted(0, strength),
}
