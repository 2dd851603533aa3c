"""Test images whose label several classifiers together doubt, from their rows alone.

A classifier gives its confidence to the class that it predicts. The mean over the classifiers is at most the
ensemble's mean probability of that class, so above one half no other class has more, though rows do not hold all
probabilities. That such images are often mislabelled: Northcutt, Athalye, Mueller: Pervasive Label Errors in Test
Sets, NeurIPS 2021, https://arxiv.org/abs/2103.14749.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

#: share of the ensemble's probability from which on it is called sure; at least one half, see above
SURE = 2 / 3


@dataclass(frozen=True, slots=True)
class Doubt:
    """An image by its place among the rows, its label, the class that the ensemble takes it for, and how surely."""

    place: int
    label: int
    taken_for: int
    share: float


def doubts(tables: Sequence[pa.Table]) -> list[Doubt]:
    """The doubtful images of two classifiers or more with the same rows, most doubtful first; of one, none."""
    if len(tables) < 2:
        return []
    label = tables[0]["label"].to_numpy()
    predicted, confidence = (
        np.stack([table[name].to_numpy() for table in tables]) for name in ("prediction", "confidence")
    )
    shares = np.stack([np.where(predicted == own, confidence, 0).mean(axis=0) for own in predicted])
    taken_for, share = predicted[shares.argmax(axis=0), np.arange(len(label))], shares.max(axis=0)
    found = np.flatnonzero((taken_for != label) & (share >= SURE))
    ordered = found[np.argsort(-share[found], kind="stable")]
    return [Doubt(int(place), int(label[place]), int(taken_for[place]), float(share[place])) for place in ordered]
