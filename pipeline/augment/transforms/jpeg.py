"""JPEG: the image compressed and decoded (ImageNet-C, Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261).

By Pillow: albumentations compresses red as blue, and so keeps other details than a JPEG file does.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from pipeline.augment.transforms.parts.operations import PixelFunction, RandomOperations
from pipeline.augment.transforms.parts.ranges import in_range
from pipeline.images import Pixels


def build(*, quality: Sequence[int] = (30, 95), p: float = 0.5) -> RandomOperations:
    """Whole quality uniform in `quality`, on Pillow's scale of 1 to 95; ImageNet-C goes down from 25 to 7."""
    in_range(1, 95, quality=quality)

    def sample(generator: np.random.Generator, height: int, width: int) -> list[PixelFunction]:
        sampled = int(generator.integers(quality[0], quality[1], endpoint=True))

        def compress(pixels: Pixels) -> Pixels:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=sampled)
            return np.asarray(Image.open(file))

        return [compress]

    return RandomOperations(sample, p)
