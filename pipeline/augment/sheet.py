"""The contact sheet: some images with all annotations, as stored and after a policy, for a person to check.

One row per image: as stored, then as training may see it, with what annotated.py draws.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline import images
from pipeline.augment.annotated import BAR, SIDE, render
from pipeline.augment.fit import Fit
from pipeline.augment.policy import Policy, Settings
from pipeline.sample import Facts, Sample
from pipeline.seeds import seed_of

ROWS, COLUMNS = 6, 8


def sheet(stored: Sequence[Sample], settings: Settings, facts: Facts) -> NDArray[np.uint8]:
    """Evenly spaced images, one row each."""
    policy, tiles = Policy(settings, len(facts.classes), facts.keypoints), []

    def other(number: int) -> Sample:
        return stored[number % len(stored)]

    for index in images.spread(len(stored), ROWS):
        original = stored[int(index)]
        fit = Fit(max(32, *original.pixels.shape[:2]))  # a square, as in training, of at least 32 pixels
        tiles.append(render(fit.forward(original)[0], facts))
        for column in range(COLUMNS - 1):
            tiles.append(render(policy(original, seed_of("sheet", int(index), column), other, fit), facts))
    return images.grid(tiles, COLUMNS, side=SIDE + BAR)
