"""scenes: 1 to 6 digits over a photograph of 128×128 pixels, with boxes, masks, keypoints and label map.

Generated from data in scikit-learn, so no path is read; `parts/scene.py` names the sources.
A later digit covers an earlier one: masks are the visible pixels, a box is the smallest one around its mask. Keypoints
are the ends of the strokes at the top, bottom, left and right; those that a later digit covers are hidden.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.geometry.rle import encode
from pipeline.prepare.formats.parts.scene import CLASSES, KEYPOINTS, scenes
from pipeline.sample import Classes, Fault, Sample

SIDE = 128
MOST = 6


def read(
    path: Path | None, *, train: int = 800, val: int = 100, test: int = 200, seed: int = 0
) -> Iterator[Classes | Sample | Fault]:
    """Images of several digits each; `path` is ignored.

    train, val, test: number of images of each split · seed: integer that decides every image.
    """
    yield Classes(CLASSES, ("background", *CLASSES), KEYPOINTS)
    for scene in scenes({"train": train, "val": val, "test": test}, side=SIDE, most=MOST, seed=seed):
        semantic = np.zeros((SIDE, SIDE), np.uint8)
        for digit in scene.digits:
            semantic[digit.mask] = digit.label + 1
        yield Sample(
            f"scenes/{scene.split}/{scene.number:04d}",
            scene.pixels,
            split=scene.split,
            boxes=np.stack([digit.box for digit in scene.digits]),
            labels=np.array([digit.label for digit in scene.digits]),
            masks=[encode(digit.mask) for digit in scene.digits],
            keypoints=np.stack([digit.keypoints for digit in scene.digits]),
            semantic=semantic,
        )
