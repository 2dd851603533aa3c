"""What detection, instance segmentation and keypoint detection share: targets, the learner, rows, pictures and answers.

A detector computes its own losses, as detectors do: `network(images, targets)` in training gives losses by name, and
`network(images)` a dict an image with `boxes` N×4 (x_min, y_min, x_max, y_max in pixels of the network's input),
`labels` N, `scores` N and, for outlines, `masks` N×1×M×M (probabilities within each box), or for key points
`keypoints` N×K×3 (x, y and 1) with `keypoints_scores` N×K.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import boxes as geometry
from pipeline import masks as outlines
from pipeline.sample import Sample
from pipeline.statistics import Counts, Scorer
from pipeline.tasks import _average_precision as precision
from pipeline.tasks import _voc
from pipeline.tasks._images import stack
from pipeline.tasks._learner import Learner, Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Target = dict[str, Tensor]
#: from this score on a detection is shown, and counts as a mistake where it is one
SHOWN = 0.5
#: a predicted outline reaches as far as its probability
INSIDE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Found:
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

    def take(self, places: NDArray[np.int64]) -> "Found":
        """Some of the detections, in that order."""
        masks = self.masks
        chosen = masks[places] if isinstance(masks, np.ndarray) else masks and [masks[place] for place in places]
        points = None if self.points is None else self.points[places]
        return Found(self.boxes[places], self.labels[places], self.scores[places], chosen, points)


def pasted(mask: NDArray[np.float16], box: NDArray[np.float64], height: int, width: int) -> bytes:
    """The RLE of M×M probabilities within a box, read between their centres at each pixel's centre."""
    left, top, right, bottom = box.tolist()
    columns, across = _weights(left, right, width, mask.shape[1])
    rows, down = _weights(top, bottom, height, mask.shape[0])
    whole = np.zeros((height, width), np.bool_)
    whole[np.ix_(rows, columns)] = down @ mask.astype(np.float64) @ across.T >= INSIDE
    return outlines.encode(whole)


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
            return self.network(self.normalise(images), targets)
        return self._predictions(images)

    def ask(self, images: Tensor, targets: Sequence[Target]) -> list[Found]:
        """What is found; a network that judges proposals is handed those of the samples."""
        given = [target["proposals"].to(images.device) for target in targets if "proposals" in target]
        return self._predictions(images, **({"proposals": given} if given else {}))

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Sequence[Target]]]) -> None:
        """Hand the train set once to a network that has a `fit` of its own."""
        fit: Any = getattr(self.network, "fit", None)
        if fit is not None:
            fit((self.normalise(images), targets) for images, targets in batches)

    def _predictions(self, images: Tensor, **given: Any) -> list[Found]:
        return [_found(item, images.shape[-1]) for item in self.network(self.normalise(images), **given)]

    def figures(self, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
        """What proposals cover, where the network judges proposals."""
        from pipeline.tasks import _proposed  # which looks at detectors

        return _proposed.figures(self, held_out)


def _found(item: dict[str, Tensor], side: int) -> Found:
    values = {name: value.detach().float().cpu().numpy() for name, value in item.items()}
    masks = values["masks"][:, 0].astype(np.float16) if "masks" in values else None
    boxes, scores = (values[name].astype(np.float64) for name in ("boxes", "scores"))
    points = None
    if "keypoints" in values:
        sure = values["keypoints_scores"][..., None]
        points = np.concatenate([values["keypoints"][..., :2] / side, sure], axis=2).astype(np.float64)
    return Found(boxes / side, values["labels"].astype(np.int64), scores, masks, points)


def collate(
    samples: Sequence[Sample], settings: Settings, *, masks: bool = False, points: bool = False
) -> tuple[Tensor, list[Target]]:
    """uint8 B×C×S×S, and a dict an image: `boxes` N×4 pixels, `labels` N.

    If asked for, `masks` N×S×S and `keypoints` N×K×3 too, and `proposals` P×4 where the samples have them.

    Crowds, what is marked difficult, and boxes without area teach nothing and are left out.
    """
    return stack(samples, settings.channels), [_target(sample, masks, points) for sample in samples]


def _target(sample: Sample, masks: bool, points: bool) -> Target:
    truth = Truth.of(sample)
    wide = (truth.boxes[:, 2:] > truth.boxes[:, :2]).all(axis=1)
    kept = np.flatnonzero(wide & ~truth.ignored)
    target = {
        "boxes": torch.from_numpy(truth.boxes[kept].astype(np.float32)),
        "labels": torch.from_numpy(truth.labels[kept]),
    }
    if sample.proposals is not None:
        target["proposals"] = torch.from_numpy(sample.proposals.astype(np.float32))
    if points and truth.points is not None:  # an image only asked about has none
        target["keypoints"] = torch.from_numpy(truth.points[kept].astype(np.float32))
    if masks:
        size = sample.pixels.shape[:2]
        shapes = [outlines.decode(truth.masks[int(place)], *size) for place in kept]
        target["masks"] = torch.from_numpy(np.stack([np.zeros(size, np.bool_), *shapes])[1:].astype(np.uint8))
    return target


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is in an image: N boxes in stored pixels, labels, areas in original pixels, which count, points N×K×3."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    masks: Sequence[bytes]
    points: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, sample: Sample) -> "Truth":
        """Areas are those of masks where there are any, as COCO has it; an image only asked about has nothing."""
        boxes = np.zeros((0, 4)) if sample.boxes is None else sample.boxes.astype(np.float64)
        none = np.zeros(len(boxes), np.bool_)
        crowd = none if sample.crowd is None else sample.crowd
        difficult = none if sample.difficult is None else sample.difficult
        masks = sample.masks or ()
        areas = np.array([outlines.area(mask) for mask in masks], np.float64) if masks else geometry.area(boxes)
        labels = np.zeros(0, np.int64) if sample.labels is None else sample.labels
        points = None if sample.points is None else sample.points.astype(np.float64)
        return cls(boxes, labels, areas * enlarged(sample), crowd, crowd | difficult, masks, points)


def enlarged(sample: Sample) -> float:
    """Original pixels a stored pixel."""
    height, width = sample.pixels.shape[:2]
    original = sample.size or (height, width)
    return original[0] * original[1] / (height * width)


def rows(sample: Sample, prediction: Found, *, masks: bool = False) -> dict[str, Any]:
    """One image: each detection's label, score and verdicts, each true one's label and where it counts.

    `verdicts` are N×4×10 bytes by area range and overlap of boxes, see `_average_precision`, `voc_verdicts` N, see
    `_voc`; `mask_verdicts` and `mask_voc_verdicts` are those of outlines. Severity: see `mistakes`.
    """
    height, width = sample.pixels.shape[:2]
    truth = Truth.of(sample)
    found = prediction.take(precision.ranked(prediction.scores, prediction.labels))
    ignored = truth.ignored[:, None] | precision.outside(truth.areas)
    boxes = found.pixels(height, width)

    def judged(prefix: str, overlap: NDArray[np.float64], areas: NDArray[np.float64]) -> dict[str, NDArray[np.uint8]]:
        other = precision.outside(areas * enlarged(sample))
        return {
            f"{prefix}verdicts": precision.verdicts(overlap, found.labels, other, truth.labels, ignored, truth.crowd),
            f"{prefix}voc_verdicts": _voc.verdicts(overlap, found.labels, truth.labels, truth.ignored, truth.crowd),
        }

    verdicts = judged("", geometry.iou(boxes, truth.boxes, truth.crowd), geometry.area(boxes))
    if masks:
        shapes = found.outlines(height, width)
        areas = np.array([outlines.area(shape) for shape in shapes], np.float64)
        verdicts |= judged("mask_", outlines.iou(shapes, truth.masks, truth.crowd), areas)
    return {
        "labels": found.labels.tolist(),
        "scores": found.scores.tolist(),
        **{name: value.tobytes() for name, value in verdicts.items()},
        "true_labels": truth.labels.tolist(),
        "counted": (~ignored).astype(np.uint8).tobytes(),
        "severity": mistakes(verdicts["mask_verdicts" if masks else "verdicts"], found, ignored),
    }


def mistakes(verdicts: NDArray[np.uint8], found: Found, ignored: NDArray[np.bool_]) -> float:
    """How many a person sees: false alarms that are shown, and what counts (M×4, by area range) and is not found."""
    seen = verdicts[found.scores >= SHOWN, 0, 0]
    missed = (~ignored[:, 0]).sum() - (seen == precision.RIGHT).sum()
    return float(missed + (seen == precision.WRONG).sum())


def scores(table: pa.Table, settings: Settings, detections: int, prefix: str = "") -> Scorer:
    """COCO's and PASCAL VOC's scores by the verdicts of a prefix, which their names get as well."""
    coco = precision.scores(table, settings.classes, f"{prefix}verdicts", detections)
    voc = _voc.scores(table, len(settings.classes), f"{prefix}voc_verdicts")

    def score(counts: Counts) -> dict[str, float]:
        return {f"{prefix}{name}": value for name, value in (coco(counts) | voc(counts)).items()}

    return score


def answer(sample: Sample, prediction: Found, settings: Settings) -> dict[str, Any]:
    """Boxes one after the other, x_min, y_min, x_max, y_max in the image's own pixels; labels; scores."""
    return {
        "boxes": prediction.pixels(*sample.pixels.shape[:2]).ravel().tolist(),
        "labels": [settings.classes[label] for label in prediction.labels],
        "scores": prediction.scores.tolist(),
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Found:
    """The prediction behind a served answer."""
    height, width = sample.pixels.shape[:2]
    boxes = np.asarray(answered["boxes"], np.float64).reshape(-1, 4) / [width, height, width, height]
    labels = np.array([settings.classes.index(name) for name in answered["labels"]], np.int64)
    return Found(boxes, labels, np.asarray(answered["scores"], np.float64))
