"""single: one digit over a photograph of 64×64 pixels, with its label and its box, for localization.

Generated from data in scikit-learn, so no path is read; `parts/scene.py` names the sources.
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

    train, val, test: number of images of each split · seed: integer that decides every image.
    """
    yield Classes(CLASSES)
    for scene in scenes({"train": train, "val": val, "test": test}, side=SIDE, most=1, seed=seed):
        (digit,) = scene.digits
        yield Sample(
            f"single/{scene.split}/{scene.number:04d}",
            scene.pixels,
            split=scene.split,
            label=digit.label,
            boxes=digit.box[None],
            labels=np.array([digit.label]),
        )
