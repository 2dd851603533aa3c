"""Consecutive transforms of albumentations, applied to whatever of a sample they concern.

Its random stream is set anew for every sample, because albumentations 2.0.8 repeats itself in loader workers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np

from pipeline.augment import fields
from pipeline.sample import Sample

#: albumentations' name → the sample's
_MAPS = {"mask": "semantic", "weight": "weight"}


class Library:
    """Transforms that either all move pixels or all leave them in place."""

    def __init__(self, transforms: Sequence[A.BasicTransform]) -> None:
        self._moves = isinstance(transforms[0], A.DualTransform)
        boxes = A.BboxParams(
            format="pascal_voc",
            label_fields=["places"],
            clip=True,
            filter_invalid_bboxes=True,
            min_area=fields.SMALLEST,
        )
        points = A.KeypointParams(format="xy", remove_invisible=False)  # all, in their order
        # a weight map is interpolated like an image; no transform of colour is in the same list
        moving: dict[str, Any] = {"additional_targets": {"weight": "image"}}
        moving |= {"bbox_params": boxes, "keypoint_params": points}
        self._compose = A.Compose(list(transforms), **(moving if self._moves else {}))

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """The sample after all of them."""
        self._compose.set_random_seed(int(generator.integers(2**32)))
        if not self._moves:
            return dataclasses.replace(sample, image=self._compose(image=sample.pixels)["image"])
        return self._moved(sample)

    def _moved(self, sample: Sample) -> Sample:
        """Objects with masks have their boxes from these; other boxes, and proposals, are moved as boxes."""
        none = np.zeros((0, 4), np.float32)
        boxes = none if sample.boxes is None or sample.masks is not None else sample.boxes
        both = np.concatenate([boxes, none if sample.proposals is None else sample.proposals])
        given: dict[str, Any] = {"image": sample.pixels, "bboxes": both, "places": np.arange(len(both))}
        given |= {"mask": sample.semantic, "weight": sample.weight}
        given["keypoints"] = none[:, :2] if sample.points is None else sample.points[..., :2].reshape(-1, 2)
        if sample.masks:
            given["masks"] = [mask.astype(np.uint8, order="C") for mask in fields.masks(sample)]
        result = self._compose(**{name: value for name, value in given.items() if value is not None})
        changes: dict[str, Any] = {"image": result["image"]}
        if sample.points is not None:
            points = np.asarray(result["keypoints"], np.float32).reshape(*sample.points.shape[:2], 2)
            sample = dataclasses.replace(sample, points=fields.moved(sample, points))
        changes |= {field: result[name] for name, field in _MAPS.items() if name in result}
        moved = np.asarray(result["bboxes"], np.float32).reshape(-1, 4)
        places = np.asarray(result["places"], np.int64)
        objects = places < len(boxes)
        if sample.proposals is not None:
            changes["proposals"] = moved[~objects]
        if sample.masks is not None:
            changes |= fields.of_masks(sample, [np.asarray(mask) == 1 for mask in result.get("masks", ())])
        elif sample.boxes is not None:
            changes |= fields.of_boxes(sample, moved[objects], places[objects])
        return dataclasses.replace(sample, **changes)
