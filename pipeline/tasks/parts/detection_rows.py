"""What detection, instance segmentation and keypoint detection share: targets, rows, scores and answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.bootstrap import Counts, Scorer
from pipeline.geometry import boxes as geometry
from pipeline.geometry import rle
from pipeline.learners.base import Settings
from pipeline.learners.batch import stack
from pipeline.learners.detector import SHOWN, Detections, GroundTruth, Target, enlarged
from pipeline.metrics import coco_ap, voc_ap
from pipeline.sample import Sample


def collate(
    samples: Sequence[Sample], settings: Settings, *, masks: bool = False, points: bool = False
) -> tuple[Tensor, list[Target]]:
    """uint8 B×C×S×S, and a dict an image: `boxes` N×4 pixels, `labels` N.

    If asked for, `masks` N×S×S and `keypoints` N×K×3 too, and `proposals` P×4 where the samples have them.

    Crowds, what is marked difficult, and boxes without area teach nothing and are left out.
    """
    return stack(samples, settings.channels), [_target(sample, masks, points) for sample in samples]


def _target(sample: Sample, masks: bool, points: bool) -> Target:
    truth = GroundTruth.of(sample)
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
        shapes = [rle.decode(truth.masks[int(place)], *size) for place in kept]
        target["masks"] = torch.from_numpy(np.stack([np.zeros(size, np.bool_), *shapes])[1:].astype(np.uint8))
    return target


def rows(sample: Sample, prediction: Detections, *, masks: bool = False) -> dict[str, Any]:
    """One image: each detection's label, score and verdicts, each true one's label and where it counts.

    `verdicts` are N×4×10 bytes by area range and overlap of boxes, see `_average_precision`, `voc_verdicts` N, see
    `_voc`; `mask_verdicts` and `mask_voc_verdicts` are those of outlines. Severity: see `mistakes`.
    """
    height, width = sample.pixels.shape[:2]
    truth = GroundTruth.of(sample)
    found = prediction.take(coco_ap.ranked(prediction.scores, prediction.labels))
    ignored = truth.ignored[:, None] | coco_ap.outside(truth.areas)
    boxes = found.pixels(height, width)

    def judged(prefix: str, overlap: NDArray[np.float64], areas: NDArray[np.float64]) -> dict[str, NDArray[np.uint8]]:
        other = coco_ap.outside(areas * enlarged(sample))
        return {
            f"{prefix}verdicts": coco_ap.verdicts(overlap, found.labels, other, truth.labels, ignored, truth.crowd),
            f"{prefix}voc_verdicts": voc_ap.verdicts(overlap, found.labels, truth.labels, truth.ignored, truth.crowd),
        }

    verdicts = judged("", geometry.iou(boxes, truth.boxes, truth.crowd), geometry.area(boxes))
    if masks:
        shapes = found.outlines(height, width)
        areas = np.array([rle.area(shape) for shape in shapes], np.float64)
        verdicts |= judged("mask_", rle.iou(shapes, truth.masks, truth.crowd), areas)
    return {
        "labels": found.labels.tolist(),
        "scores": found.scores.tolist(),
        **{name: value.tobytes() for name, value in verdicts.items()},
        "true_labels": truth.labels.tolist(),
        "counted": (~ignored).astype(np.uint8).tobytes(),
        "severity": mistakes(verdicts["mask_verdicts" if masks else "verdicts"], found, ignored),
    }


def mistakes(verdicts: NDArray[np.uint8], found: Detections, ignored: NDArray[np.bool_]) -> float:
    """How many a person sees: false alarms that are shown, and what counts (M×4, by area range) and is not found."""
    seen = verdicts[found.scores >= SHOWN, 0, 0]
    missed = (~ignored[:, 0]).sum() - (seen == coco_ap.RIGHT).sum()
    return float(missed + (seen == coco_ap.WRONG).sum())


def scores(table: pa.Table, settings: Settings, detections: int, prefix: str = "") -> Scorer:
    """COCO's and PASCAL VOC's scores by the verdicts of a prefix, which their names get as well."""
    coco = coco_ap.scores(table, settings.classes, f"{prefix}verdicts", detections)
    voc = voc_ap.scores(table, len(settings.classes), f"{prefix}voc_verdicts")

    def score(counts: Counts) -> dict[str, float]:
        return {f"{prefix}{name}": value for name, value in (coco(counts) | voc(counts)).items()}

    return score


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """Boxes one after the other, x_min, y_min, x_max, y_max in the image's own pixels; labels; scores."""
    return {
        "boxes": prediction.pixels(*sample.pixels.shape[:2]).ravel().tolist(),
        "labels": [settings.classes[label] for label in prediction.labels],
        "scores": prediction.scores.tolist(),
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The prediction behind a served answer."""
    height, width = sample.pixels.shape[:2]
    boxes = np.asarray(answered["boxes"], np.float64).reshape(-1, 4) / [width, height, width, height]
    labels = np.array([settings.classes.index(name) for name in answered["labels"]], np.int64)
    return Detections(boxes, labels, np.asarray(answered["scores"], np.float64))
