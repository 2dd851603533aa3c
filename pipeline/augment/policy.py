"""A list of named transforms as one function of a sample and a seed.

The seed alone decides what is drawn: albumentations 2.0.8 repeats itself in loader workers, so its stream is
set anew for every sample, and any number of workers and ranks sees the same images.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.sample import Sample

Settings = Sequence[dict[str, dict[str, Any]]]


class Policy:
    """Transforms built from params.yaml's list; `policy(sample, seed)` gives the changed sample."""

    def __init__(self, settings: Settings) -> None:
        built = []
        for entry in settings:
            ((name, options),) = entry.items()
            try:
                built.append(plugins.load("augment.transforms", name).build(**options))
            except (TypeError, ValueError) as error:
                raise UserError(f"params.yaml: augmentation: transform {name} with {options}: {error}") from error
        boxes = A.BboxParams(format="pascal_voc", label_fields=["places"], clip=True, min_area=1.0)
        self._moves = any(isinstance(transform, A.DualTransform) for transform in built)
        self._compose = A.Compose(built, bbox_params=boxes if self._moves else None) if built else None

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The sample after all transforms, every random number drawn from `seed`."""
        if self._compose is None:
            return sample
        self._compose.set_random_seed(seed)
        given: dict[str, Any] = {"image": sample.pixels}
        if self._moves:
            boxes = np.zeros((0, 4), np.float32) if sample.boxes is None else sample.boxes
            given |= {"bboxes": boxes, "places": np.arange(len(boxes))}
            if sample.semantic is not None:
                given["mask"] = sample.semantic
        result = self._compose(**given)
        changes: dict[str, Any] = {"image": result["image"]}
        if "mask" in result:
            changes["semantic"] = result["mask"]
        if self._moves and sample.boxes is not None:
            changes |= _kept_boxes(sample, result)
        if self._moves:  # these are not moved, and what lies in the wrong place must not be trained on
            changes |= dict.fromkeys(("masks", "weight", "proposals"))
        return dataclasses.replace(sample, **changes)


def _kept_boxes(sample: Sample, result: dict[str, Any]) -> dict[str, Any]:
    """Boxes that are still in the picture, and what belongs to each."""
    places = np.asarray(result["places"], np.int64)
    changes: dict[str, Any] = {"boxes": np.asarray(result["bboxes"], np.float32).reshape(-1, 4)}
    for name in ("labels", "crowd", "difficult"):
        values = getattr(sample, name)
        if values is not None:
            changes[name] = values[places]
    return changes
