"""Consecutive transforms of albumentations, applied to all fields of a sample that they concern.

Its random generator is seeded for every sample, because albumentations 2.0.8 repeats itself in loader workers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np

from pipeline.augment import fields
from pipeline.augment.warp import mirrored
from pipeline.errors import UserError
from pipeline.geometry.rle import encode
from pipeline.sample import Form, Sample, of_form

NO_BOXES = np.zeros((0, 4), np.float32)
#: what albumentations takes a map for; weights are interpolated, and no transform of colors is in the same list
TARGETS = {Form.IDS: "mask", Form.WEIGHTS: "image"}
#: transforms that mirror images, and keep the names of keypoints
MIRRORING = frozenset({"D4", "HorizontalFlip", "SquareSymmetry", "TimeReverse", "Transpose", "VerticalFlip"})
#: side in pixels of the image that a transform is tried on, and how often
TRIED_PX, TRIED = 64, 4


def check(transform: A.BasicTransform, keypoints: Sequence[str] = ()) -> None:
    """Apply a transform to an image with all annotations; ValueError if it fails or gives no image of that size."""
    name = type(transform).__name__
    if name in MIRRORING and mirrored(keypoints) != list(range(len(keypoints))):
        raise ValueError(f"{name} does not swap left and right keypoints. Use horizontal_flip or vertical_flip.")
    probability, transform.p = transform.p, 1.0
    try:
        for seed in range(TRIED):
            _try(transform, seed)
    finally:
        transform.p = probability


def _try(transform: A.BasicTransform, seed: int) -> None:
    generator = np.random.default_rng(seed)
    inside = np.pad(np.ones((TRIED_PX // 2, TRIED_PX // 2), np.uint8), TRIED_PX // 4)
    box = np.array([fields.extent(inside.astype(bool))], np.float32)
    tried = Sample(
        "tried",
        generator.integers(0, 256, (TRIED_PX, TRIED_PX, 3), np.uint8),
        boxes=box,
        labels=np.zeros(1, np.int64),
        masks=[encode(inside.astype(bool))],
        keypoints=np.full((1, 1, 3), TRIED_PX / 2, np.float32),
        semantic=inside,
        weight=inside.astype(np.float32),
        proposals=box,
    )
    try:
        pixels = Library([transform])(tried, generator).image
    except UserError as error:
        raise ValueError(str(error)) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"can't be used here ({type(error).__name__}: {reason}). Choose another.") from error
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        kind = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise ValueError(f"gives {kind} and not 8-bit pixels; convline normalizes images itself. Leave it out.")


class Library:
    """Transforms that either all move pixels, or all keep their positions."""

    def __init__(self, transforms: Sequence[A.BasicTransform]) -> None:
        self._moves = isinstance(transforms[0], A.DualTransform)
        boxes = A.BboxParams(
            format="pascal_voc",
            label_fields=["indices"],
            clip=True,
            filter_invalid_bboxes=True,
            min_area=fields.SMALLEST,
        )
        keypoints = A.KeypointParams(format="xy", remove_invisible=False)  # keep all, in their order
        targets = {name: target for form, target in TARGETS.items() for name in of_form(form)}
        moving = {"additional_targets": targets, "bbox_params": boxes, "keypoint_params": keypoints}
        self._compose = A.Compose(list(transforms), **(moving if self._moves else {}))

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """The sample after all transforms."""
        self._compose.set_random_seed(int(generator.integers(2**32)))
        if not self._moves:
            return dataclasses.replace(sample, image=self._compose(image=sample.pixels)["image"])
        moved = self._move(sample)
        if sorted(moved.pixels.shape) != sorted(sample.pixels.shape):  # sides may be swapped
            (height, width), (old_height, old_width) = moved.pixels.shape[:2], sample.pixels.shape[:2]
            change = f"from {old_width}×{old_height} to {width}×{height}"
            remedy = "Use random_resized_crop, crop or scale, or the job's `size`"
            raise UserError(f"changes the size of the image, {change} pixels. {remedy}.")
        return moved

    def _move(self, sample: Sample) -> Sample:
        """Boxes of objects with masks are computed from the masks; other boxes, and proposals, are moved as boxes."""
        objects = NO_BOXES if sample.boxes is None or sample.masks is not None else sample.boxes
        others = fields.given(sample, Form.BOXES)
        both = np.concatenate([objects, *others.values()])
        keypoints = fields.given(sample, Form.KEYPOINTS)
        maps = fields.given(sample, *TARGETS)
        inputs: dict[str, Any] = {"image": sample.pixels, "bboxes": both, "indices": np.arange(len(both)), **maps}
        inputs["keypoints"] = np.concatenate(
            [NO_BOXES[:, :2], *(each[..., :2].reshape(-1, 2) for each in keypoints.values())]
        )
        if sample.masks:
            inputs["masks"] = [mask.astype(np.uint8, order="C") for mask in fields.masks(sample)]
        result = self._compose(**inputs)
        changes: dict[str, Any] = {"image": result["image"], **{name: result[name] for name in maps}}
        positions = np.asarray(result["keypoints"], np.float32).reshape(-1, 2)
        moved_keypoints: dict[str, Any] = {}
        for name, before in keypoints.items():
            moved, positions = np.split(positions, [before.shape[0] * before.shape[1]])
            moved_keypoints[name] = fields.moved(before, moved.reshape(*before.shape[:2], 2), result["image"].shape)
        sample = dataclasses.replace(sample, **moved_keypoints)  # before objects are dropped, and keypoints with them
        boxes = np.asarray(result["bboxes"], np.float32).reshape(-1, 4)
        indices, start = np.asarray(result["indices"], np.int64), len(objects)
        for name, before in others.items():
            changes[name] = boxes[(indices >= start) & (indices < start + len(before))]
            start += len(before)
        if sample.masks is not None:
            changes |= fields.of_masks(sample, [np.asarray(mask) == 1 for mask in result.get("masks", ())])
        elif sample.boxes is not None:
            kept = indices < len(objects)
            changes |= fields.of_boxes(sample, boxes[kept], indices[kept])
        return dataclasses.replace(sample, **changes)
