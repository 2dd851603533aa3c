"""The learner of detection, instance segmentation and keypoint detection, what it predicts, and the truth beside it.

A detector computes its own losses, as detectors do: `network(images, targets)` in training gives losses by name, and
`network(images)` a dict per image with `boxes` N×4 (x_min, y_min, x_max, y_max in pixels of the network's input),
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
from pipeline.learners.base import Learner
from pipeline.sample import Sample

Target = dict[str, Tensor]
#: from this score on a detection is shown, and counts as a mistake where it is one
SHOWN = 0.5
#: a predicted outline reaches as far as its probability
INSIDE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector sees in one image.

    boxes: N×4 float64, fractions of the image's width and height · labels: N · scores: N float64 · masks: N×M×M
    float16 probabilities within each box, or N RLE in the pixels of the image asked about, or None · points: N×K×3
    float64, x and y as fractions like boxes, and how sure it is, or None.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    masks: NDArray[np.float16] | Sequence[bytes] | None = None
    points: NDArray[np.float64] | None = None

    def pixels(self, height: int, width: int) -> NDArray[np.float64]:
        """N×4 boxes in pixels of a height×width image."""
        return self.boxes * [width, height, width, height]

    def places(self, height: int, width: int) -> NDArray[np.float64]:
        """N×K×3 points in pixels of a height×width image, each with how sure it is."""
        assert self.points is not None
        return self.points * [width, height, 1]

    def outlines(self, height: int, width: int) -> list[bytes]:
        """N RLE in pixels of a height×width image."""
        if isinstance(self.masks, np.ndarray):
            boxes = self.pixels(height, width)
            return [pasted(mask, box, height, width) for mask, box in zip(self.masks, boxes, strict=True)]
        return list(self.masks or ())

    def take(self, places: NDArray[np.int64]) -> "Detections":
        """Some of the detections, in that order."""
        masks = self.masks
        chosen = masks[places] if isinstance(masks, np.ndarray) else masks and [masks[place] for place in places]
        points = None if self.points is None else self.points[places]
        return Detections(self.boxes[places], self.labels[places], self.scores[places], chosen, points)


def pasted(mask: NDArray[np.float16], box: NDArray[np.float64], height: int, width: int) -> bytes:
    """The RLE of M×M probabilities within a box, read between their centres at each pixel's centre."""
    left, top, right, bottom = box.tolist()
    columns, across = _weights(left, right, width, mask.shape[1])
    rows, down = _weights(top, bottom, height, mask.shape[0])
    whole = np.zeros((height, width), np.bool_)
    whole[np.ix_(rows, columns)] = down @ mask.astype(np.float64) @ across.T >= INSIDE
    return rle.encode(whole)


def _weights(start: float, end: float, length: int, cells: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The n pixels of a line whose centres lie between start and end, and n×cells: what each reads of each cell."""
    centres = np.arange(length) + 0.5
    pixels = np.flatnonzero((centres > start) & (centres < end))
    places = (centres[pixels] - start) / (end - start) * cells - 0.5 if len(pixels) else np.zeros(0)
    places = np.clip(places, 0, cells - 1)  # before the first centre and after the last, as there
    return pixels, np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0)


class Detector(Learner):
    """Hands normalised images and targets on to a network that knows its own losses."""

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: what is found, one `Found` an image."""
        if targets is not None:
            return self.network(self.normalize(images), targets)
        return self._predictions(images)

    def ask(self, images: Tensor, targets: Sequence[Target]) -> list[Detections]:
        """What is found; a network that judges proposals is handed those of the samples."""
        given = [target["proposals"].to(images.device) for target in targets if "proposals" in target]
        return self._predictions(images, **({"proposals": given} if given else {}))

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Sequence[Target]]]) -> None:
        """Hand the train set once to a network that has a `fit` of its own."""
        fit: Any = getattr(self.network, "fit", None)
        if fit is not None:
            fit((self.normalize(images), targets) for images, targets in batches)

    def _predictions(self, images: Tensor, **given: Any) -> list[Detections]:
        return [_found(item, images.shape[-1]) for item in self.network(self.normalize(images), **given)]


def _found(item: dict[str, Tensor], side: int) -> Detections:
    values = {name: value.detach().float().cpu().numpy() for name, value in item.items()}
    masks = values["masks"][:, 0].astype(np.float16) if "masks" in values else None
    boxes, scores = (values[name].astype(np.float64) for name in ("boxes", "scores"))
    points = None
    if "keypoints" in values:
        sure = values["keypoints_scores"][..., None]
        points = np.concatenate([values["keypoints"][..., :2] / side, sure], axis=2).astype(np.float64)
    return Detections(boxes / side, values["labels"].astype(np.int64), scores, masks, points)


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """What is in an image: N boxes in stored pixels, labels, areas in original pixels, which count, points N×K×3."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    masks: Sequence[bytes]
    points: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, sample: Sample) -> "GroundTruth":
        """Areas are those of masks where there are any, as COCO has it; an image only asked about has nothing."""
        boxes = np.zeros((0, 4)) if sample.boxes is None else sample.boxes.astype(np.float64)
        none = np.zeros(len(boxes), np.bool_)
        crowd = none if sample.crowd is None else sample.crowd
        difficult = none if sample.difficult is None else sample.difficult
        masks = sample.masks or ()
        areas = np.array([rle.area(mask) for mask in masks], np.float64) if masks else geometry.area(boxes)
        labels = np.zeros(0, np.int64) if sample.labels is None else sample.labels
        points = None if sample.points is None else sample.points.astype(np.float64)
        return cls(boxes, labels, areas * enlarged(sample), crowd, crowd | difficult, masks, points)


def enlarged(sample: Sample) -> float:
    """Original pixels a stored pixel."""
    height, width = sample.pixels.shape[:2]
    original = sample.size or (height, width)
    return original[0] * original[1] / (height * width)
