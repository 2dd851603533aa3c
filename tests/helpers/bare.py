"""A format whose images have lost their annotations in some splits, as plug-in of a temporary project."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import own_plugins

FORMAT = '''"""bare: scenes or single images; those of some splits have lost their annotations."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline import plugins
from pipeline.sample import Classes, Fault, Sample


def read(
    path: Path | None, *, of: str = "scenes", bare: str = "", most: int = 100, one_class: bool = False, train: int = 20
) -> Iterator[Classes | Sample | Fault]:
    """Images of another format.

    bare: splits without annotations · most: images of such a split · one_class: their label is 0.
    """
    counts = Counter()
    for item in plugins.load("prepare.formats", of).read(None, train=train, val=4, test=4):
        if isinstance(item, Sample) and item.split in bare.split():
            counts[item.split] += 1
            if counts[item.split] > most:
                continue
            item = stripped(item, one_class)
        yield item


def stripped(item: Sample, one_class: bool) -> Sample:
    changes = {"boxes": item.boxes[:0], "labels": item.labels[:0]}
    if item.masks is not None:
        changes |= {"masks": [], "keypoints": item.keypoints[:0], "semantic": np.zeros_like(item.semantic)}
    if one_class:
        changes["label"] = 0
    return dataclasses.replace(item, **changes)
'''
#: the format that a task's data are made from, and the options with which a split gives no ground for its score
SOURCES: dict[str, dict[str, Any]] = {
    "classification": {"of": "single", "one_class": True, "train": 40},
    "localization": {"of": "single", "train": 40},
    "generation": {"of": "single", "most": 1, "train": 40},
}


def use(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the format known in the project."""
    own_plugins.write(own_plugins.use(root, patch), "prepare.formats", "bare", FORMAT)


def dataset(task: str, splits: str) -> dict[str, Any]:
    """A data set of a task whose splits (`val test`) have nothing to score; of other tasks scenes without objects."""
    return {"format": "bare", "options": {**SOURCES.get(task, {}), "bare": splits}}
