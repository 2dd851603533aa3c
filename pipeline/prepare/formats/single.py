"""single: one digit over a photograph in 64×64 pixels, with its label and its box, for localization.

Made from what scikit-learn carries, so no path is read; `_scenes.py` tells the sources and what no two splits share.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.prepare.formats.parts.scene import CLASSES, scenes
from pipeline.sample import Classes, Fault, Sample

SIDE = 64


def read(
    path: Path | None, *, train: int = 1000, val: int = 200, test: int = 200, seed: int = 0
) -> Iterator[Classes | Sample | Fault]:
    """Images of one digit each; `path` is ignored.

    train, val, test: how many images of each split · seed: whole number that decides every image.
    """
    yield Classes(CLASSES)
    for scene in scenes({"train": train, "val": val, "test": test}, side=SIDE, most=1, seed=seed):
        (thing,) = scene.things
        yield Sample(
            f"single/{scene.split}/{scene.number:04d}",
            scene.pixels,
            split=scene.split,
            label=thing.label,
            boxes=thing.box[None],
            labels=np.array([thing.label]),
        )
