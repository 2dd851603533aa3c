"""How an image becomes a network's square input, and the way back: the `fit` of a job.

stretch: both sides are scaled to the input's, whatever the aspect. letterbox: the aspect is kept and the rest padded,
gray in the image and ignored in a label map. crop: the short side is scaled to the input's, and the centre kept.

Training, validation, evaluation, `convline predict` and served models all go forward by `Fit.forward`, and back by
`restore`.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.augment import fields
from pipeline.augment.transforms.parts.window import Window
from pipeline.geometry import rle
from pipeline.geometry.placement import Placement
from pipeline.sample import IGNORE, TABLE, Form, Sample, resized

#: of the padding of an image
GRAY = 128


@dataclass(frozen=True, slots=True)
class Fit:
    """Images of any size and aspect become side×side pixels; mode: stretch, letterbox or crop."""

    side: int
    mode: str = "stretch"

    def __str__(self) -> str:
        return f"inputs of {self.side}×{self.side}"

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what a loader begins with, of an image of height×width."""
        return self.side, self.side

    def begin(self, sample: Sample) -> Sample:
        """What a loader begins with."""
        return self.forward(sample)[0]

    def forward(self, sample: Sample) -> tuple[Sample, Placement]:
        """The input that a sample becomes, with its annotations, and where the image lies in it."""
        pixels = sample.pixels
        placement = self.placement(*pixels.shape[:2])
        if self.mode == "crop" and not placement.fills:
            return self.from_window(sample, _centre(*pixels.shape[:2])), placement
        left, top, right, bottom = map(int, placement.box)
        scaled = resized(sample, bottom - top, right - left)
        return (scaled if placement.fills else _padded(scaled, self.side, left, top)), placement

    def from_window(self, sample: Sample, window: Window) -> Sample:
        """The input that a part of the image becomes: cut from the image's own pixels, then scaled to the input."""
        return resized(cut(sample, window), self.side, self.side)

    def placement(self, height: int, width: int) -> Placement:
        """Where an image of height×width pixels lies in the input."""
        side = self.side
        if self.mode == "letterbox":
            down, across = (max(1, round(length * side / max(height, width))) for length in (height, width))
            left, top = (side - across) // 2, (side - down) // 2
            return Placement(height, width, side, (left, top, left + across, top + down))
        if self.mode == "crop":
            left, top, right, _ = _centre(height, width)
            scale = side / (right - left)
            return Placement(
                height, width, side, (-left * scale, -top * scale, (width - left) * scale, (height - top) * scale)
            )
        return Placement(height, width, side, (0, 0, side, side))


@dataclass(frozen=True, slots=True)
class Reduction:
    """Copies of images of which random parts become inputs; short: of their sides, if the image's is longer.

    They are so large that no part is enlarged, unless the image itself has fewer pixels: then the copy has all of them.
    """

    short: int

    @classmethod
    def of(cls, side: int, least_side: float) -> "Reduction":
        """For inputs of side×side, of parts whose sides are at least this fraction of the image's short side."""
        return cls(math.ceil(side / least_side))

    def __str__(self) -> str:
        return f"images of at most {self.short} pixels on their short side"

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the copy of an image of height×width."""
        scale = min(1.0, self.short / min(height, width))
        return round(height * scale), round(width * scale)

    def begin(self, sample: Sample) -> Sample:
        """The copy, with its annotations."""
        return resized(sample, *self.shape(*sample.pixels.shape[:2]))


#: what a loader begins with, instead of the stored image
Start = Fit | Reduction


def restore(task: Any, prediction: Any, placement: Placement) -> Any:
    """The prediction of an input, brought back to the image that lies in it; by the task, if it answers in pixels."""
    return task.restore(prediction, placement) if hasattr(task, "restore") else prediction


def _centre(height: int, width: int) -> Window:
    """The largest square around the centre."""
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def cut(sample: Sample, window: Window) -> Sample:
    """A part of a sample, as an image of its own; objects that lie outside are dropped."""
    left, top, right, bottom = window
    pixels = sample.pixels
    part, origin = pixels[top:bottom, left:right], np.array([left, top], np.float32)
    old, new = pixels.shape[:2], part.shape[:2]
    changes: dict[str, Any] = {"image": part}
    if sample.size is not None:  # areas are counted in pixels of the original
        changes["size"] = tuple(max(1, round(size * new[at] / old[at])) for at, size in enumerate(sample.size))
    for name, values in fields.given(sample, Form.IDS, Form.WEIGHTS).items():
        changes[name] = values[top:bottom, left:right]
    for name, boxes in fields.given(sample, Form.BOXES).items():
        changes[name], _ = fields.clipped(boxes - np.tile(origin, 2), *new)
    kept: dict[str, Any] = {
        name: fields.moved(keypoints, keypoints[..., :2] - origin, part.shape)
        for name, keypoints in fields.given(sample, Form.KEYPOINTS).items()
    }
    sample = dataclasses.replace(sample, **kept)  # before objects are dropped, and keypoints with them
    if sample.masks is not None:
        changes |= fields.of_masks(sample, [rle.decode(mask, *old)[top:bottom, left:right] for mask in sample.masks])
    elif sample.boxes is not None:
        changes |= fields.of_boxes(sample, *fields.clipped(sample.boxes - np.tile(origin, 2), *new))
    return dataclasses.replace(sample, **changes)


def _padded(sample: Sample, side: int, left: int, top: int) -> Sample:
    """The sample on a ground of side×side pixels, its upper left corner at (left, top)."""
    ground = _Ground(side, left, top, *sample.pixels.shape[:2])
    changes: dict[str, Any] = {"image": ground.paste(sample.pixels, GRAY)}
    for name, row in TABLE.items():
        value, pad = getattr(sample, name), PAD.get(row.form)
        if value is not None and pad is not None:
            changes[name] = pad(value, ground)
    return dataclasses.replace(sample, **changes)


@dataclass(frozen=True, slots=True)
class _Ground:
    """A ground of side×side pixels, and where an image of height×width lies on it."""

    side: int
    left: int
    top: int
    height: int
    width: int

    def paste(self, values: NDArray[Any], empty: float) -> NDArray[Any]:
        padded = np.full((self.side, self.side, *values.shape[2:]), empty, values.dtype)
        padded[self.top : self.top + self.height, self.left : self.left + self.width] = values
        return padded


def _pad_boxes(boxes: NDArray[np.float32], ground: _Ground) -> NDArray[np.float32]:
    return boxes + np.array([ground.left, ground.top, ground.left, ground.top], np.float32)


def _pad_keypoints(keypoints: NDArray[np.float32], ground: _Ground) -> NDArray[np.float32]:
    moved = keypoints + np.array([ground.left, ground.top, 0], np.float32)
    return np.where(keypoints[..., 2:] > 0, moved, keypoints)


def _pad_masks(masks: Sequence[bytes], ground: _Ground) -> list[bytes]:
    return [rle.encode(ground.paste(rle.decode(mask, ground.height, ground.width), 0)) for mask in masks]


def _pad_ids(ids: NDArray[np.uint8], ground: _Ground) -> NDArray[np.uint8]:
    return ground.paste(ids, IGNORE)


def _pad_weights(weights: NDArray[np.float32], ground: _Ground) -> NDArray[np.float32]:
    return ground.paste(weights, 0)


PAD: dict[Form, Callable[[Any, _Ground], Any]] = {
    Form.BOXES: _pad_boxes,
    Form.KEYPOINTS: _pad_keypoints,
    Form.MASKS: _pad_masks,
    Form.IDS: _pad_ids,
    Form.WEIGHTS: _pad_weights,
}
