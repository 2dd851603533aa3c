"""scenes: 1 to 6 digits over a photograph in 128×128 pixels, with boxes, masks, points and label map, for dense tasks.

Made from what scikit-learn carries, so no path is read; `_scenes.py` tells the sources and what no two splits share.
A later digit covers an earlier one: masks are the visible pixels, a box is the smallest one around its mask.
Points are where a stroke ends above, below, left and right; what a later digit covers of them is hidden.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.geometry.rle import encode
from pipeline.prepare.formats.parts.scene import CLASSES, POINTS, scenes
from pipeline.sample import Classes, Fault, Sample

SIDE = 128
MOST = 6


def read(
    path: Path | None, *, train: int = 800, val: int = 100, test: int = 200, seed: int = 0
) -> Iterator[Classes | Sample | Fault]:
    """Images of several digits each; `path` is ignored.

    train, val, test: how many images of each split · seed: whole number that decides every image.
    """
    yield Classes(CLASSES, ("background", *CLASSES), POINTS)
    for scene in scenes({"train": train, "val": val, "test": test}, side=SIDE, most=MOST, seed=seed):
        semantic = np.zeros((SIDE, SIDE), np.uint8)
        for thing in scene.things:
            semantic[thing.mask] = thing.label + 1
        yield Sample(
            f"scenes/{scene.split}/{scene.number:04d}",
            scene.pixels,
            split=scene.split,
            boxes=np.stack([thing.box for thing in scene.things]),
            labels=np.array([thing.label for thing in scene.things]),
            masks=[encode(thing.mask) for thing in scene.things],
            points=np.stack([thing.points for thing in scene.things]),
            semantic=semantic,
        )
