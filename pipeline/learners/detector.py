"""The learner of detection, instance segmentation and keypoint detection; its predictions, and the ground truth.

A detector computes its own losses: `network(images, targets)` in training returns losses by name, and `network(images)`
a dict per image with `boxes` N×4 (x_min, y_min, x_max, y_max in pixels of the network's input),
`labels` N, `scores` N and, with masks, `masks` N×1×M×M (probabilities within each box), or with keypoints
`keypoints` N×K×3 (x, y and 1) with `keypoints_scores` N×K.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.geometry import boxes as geometry
from pipeline.geometry import rle
from pipeline.geometry.placement import Placement
from pipeline.learners.base import Learner
from pipeline.sample import Sample

Target = dict[str, Tensor]
#: minimum score of detections that are shown, and whose mistakes count in an image's severity
SHOWN = 0.5
#: minimum probability of a pixel of a predicted mask
MASK_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """A detector's predictions for one image.

    boxes: N×4 float64 xyxy, fractions of the image's width and height · labels: N · scores: N float64 · masks: N×M×M
    float16 probabilities within each box, or N RLE in the image's pixels, or None · keypoints: N×K×3 float64, x and y
    as fractions like boxes, and a score, or None. A learner's fractions are of its input, until they are `restored`.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    masks: NDArray[np.float16] | Sequence[bytes] | None = None
    keypoints: NDArray[np.float64] | None = None

    def boxes_in_pixels(self, height: int, width: int) -> NDArray[np.float64]:
        """N×4 boxes in pixels of a height×width image."""
        return self.boxes * [width, height, width, height]

    def keypoints_in_pixels(self, height: int, width: int) -> NDArray[np.float64]:
        """N×K×3 keypoints, x and y in pixels of a height×width image, and a score."""
        assert self.keypoints is not None
        return self.keypoints * [width, height, 1]

    def masks_in_pixels(self, height: int, width: int) -> list[bytes]:
        """N RLE in pixels of a height×width image."""
        if isinstance(self.masks, np.ndarray):
            boxes = self.boxes_in_pixels(height, width)
            return [paste_mask(mask, box, height, width) for mask, box in zip(self.masks, boxes, strict=True)]
        return list(self.masks or ())

    def restored(self, placement: Placement) -> "Detections":
        """The detections of an input as those of the image in it: clipped to the image, without those outside."""
        if placement.fills:
            return self
        height, width = placement.height, placement.width
        whole = placement.to_fractions(self.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        masks, keypoints = self.masks, self.keypoints
        if isinstance(masks, np.ndarray):  # they fill the whole boxes
            pixels = whole * [width, height, width, height]
            masks = [paste_mask(mask, box, height, width) for mask, box in zip(masks, pixels, strict=True)]
        if keypoints is not None:
            keypoints = np.concatenate([placement.to_fractions(keypoints[..., :2]), keypoints[..., 2:]], axis=2)
        clipped = whole.clip(0, 1)
        inside = np.flatnonzero((clipped[:, 2:] > clipped[:, :2]).all(axis=1))
        return Detections(clipped, self.labels, self.scores, masks, keypoints).take(inside)

    def take(self, indices: NDArray[np.int64]) -> "Detections":
        """The detections of these indices, in that order."""
        masks = self.masks
        taken = masks[indices] if isinstance(masks, np.ndarray) else masks and [masks[index] for index in indices]
        keypoints = None if self.keypoints is None else self.keypoints[indices]
        return Detections(self.boxes[indices], self.labels[indices], self.scores[indices], taken, keypoints)


def paste_mask(mask: NDArray[np.float16], box: NDArray[np.float64], height: int, width: int) -> bytes:
    """The RLE of M×M probabilities within a box, bilinearly interpolated at the image's pixel centres."""
    left, top, right, bottom = box.tolist()
    columns, across = _interpolation_weights(left, right, width, mask.shape[1])
    rows, down = _interpolation_weights(top, bottom, height, mask.shape[0])
    image_mask = np.zeros((height, width), np.bool_)
    image_mask[np.ix_(rows, columns)] = down @ mask.astype(np.float64) @ across.T >= MASK_THRESHOLD
    return rle.encode(image_mask)


def _interpolation_weights(
    start: float, end: float, length: int, cells: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The n pixels of a line whose centres lie between start and end, and n×cells linear interpolation weights."""
    centres = np.arange(length) + 0.5
    pixels = np.flatnonzero((centres > start) & (centres < end))
    positions = (centres[pixels] - start) / (end - start) * cells - 0.5 if len(pixels) else np.zeros(0)
    positions = np.clip(positions, 0, cells - 1)  # constant beyond the centres of the first and the last cell
    return pixels, np.maximum(1 - np.abs(positions[:, None] - np.arange(cells)), 0)


class Detector(Learner):
    """Passes normalized images and targets to a network that computes its own losses."""

    fixed_shapes = False  # images have different numbers of objects

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: `Detections`, one per image."""
        if targets is not None:
            return self.network(self.normalize(images), targets)
        return self._detect(images)

    def predict_batch(self, images: Tensor, targets: Sequence[Target]) -> list[Detections]:
        """`Detections` per image; a network that classifies proposals gets those of the samples."""
        proposals = [target["proposals"].to(images.device) for target in targets if "proposals" in target]
        return self._detect(images, **({"proposals": proposals} if proposals else {}))

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Sequence[Target]]]) -> None:
        """Pass the train set once to the network's own `fit`, if it has one."""
        fit: Any = getattr(self.network, "fit", None)
        if fit is not None:
            fit((self.normalize(images), targets) for images, targets in batches)

    def _detect(self, images: Tensor, **inputs: Any) -> list[Detections]:
        return [_to_detections(output, images.shape[-1]) for output in self.network(self.normalize(images), **inputs)]


def _to_detections(output: dict[str, Tensor], side: int) -> Detections:
    """The network's output for one image, with pixels of its side×side input divided by `side`."""
    values = {name: value.detach().float().cpu().numpy() for name, value in output.items()}
    masks = values["masks"][:, 0].astype(np.float16) if "masks" in values else None
    boxes, scores = (values[name].astype(np.float64) for name in ("boxes", "scores"))
    keypoints = None
    if "keypoints" in values:
        keypoint_scores = values["keypoints_scores"][..., None]
        xy = values["keypoints"][..., :2] / side
        keypoints = np.concatenate([xy, keypoint_scores], axis=2).astype(np.float64)
    return Detections(boxes / side, values["labels"].astype(np.int64), scores, masks, keypoints)


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """The annotated objects of an image.

    boxes: N×4 xyxy in stored pixels · labels: N · areas: N, in pixels of the original image · crowd: N, a region of
    many objects · ignored: N, crowds and difficult objects, which are not scored · masks: N RLE in stored pixels, or
    none · keypoints: N×K×3, x, y and visibility (0 not labelled, 1 hidden, 2 visible), or None.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    masks: Sequence[bytes]
    keypoints: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, sample: Sample) -> "GroundTruth":
        """The truth of a sample; areas are those of its masks if it has any, as in COCO. Without annotations: N = 0."""
        boxes = np.zeros((0, 4)) if sample.boxes is None else sample.boxes.astype(np.float64)
        none = np.zeros(len(boxes), np.bool_)
        crowd = none if sample.crowd is None else sample.crowd
        difficult = none if sample.difficult is None else sample.difficult
        masks = sample.masks or ()
        areas = np.array([rle.area(mask) for mask in masks], np.float64) if masks else geometry.area(boxes)
        labels = np.zeros(0, np.int64) if sample.labels is None else sample.labels
        keypoints = None if sample.keypoints is None else sample.keypoints.astype(np.float64)
        return cls(boxes, labels, areas * area_scale(sample), crowd, crowd | difficult, masks, keypoints)


def area_scale(sample: Sample) -> float:
    """Pixels of the original image per stored pixel."""
    height, width = sample.pixels.shape[:2]
    original = sample.size or (height, width)
    return original[0] * original[1] / (height * width)
