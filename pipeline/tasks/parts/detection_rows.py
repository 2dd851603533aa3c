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
from pipeline.learners.detector import SHOWN, Detections, GroundTruth, Target, area_scale
from pipeline.metrics import coco_ap, detection_errors, oks, voc_ap
from pipeline.sample import Facts, Sample


def collate(
    samples: Sequence[Sample], settings: Settings, *, masks: bool = False, keypoints: bool = False
) -> tuple[Tensor, list[Target]]:
    """uint8 images B×C×S×S, and a target per image: `boxes` N×4 in pixels and `labels` N.

    Targets have `masks` N×S×S and `keypoints` N×K×3 if asked for, and `proposals` P×4 if the samples have them. Crowds,
    difficult objects and boxes without area are left out.
    """
    return stack(samples, settings.channels), [_target(sample, masks, keypoints) for sample in samples]


def _target(sample: Sample, masks: bool, keypoints: bool) -> Target:
    truth = GroundTruth.of(sample)
    indices = np.flatnonzero(_has_area(truth) & ~truth.ignored)
    target = {
        "boxes": torch.from_numpy(truth.boxes[indices].astype(np.float32)),
        "labels": torch.from_numpy(truth.labels[indices]),
    }
    if sample.proposals is not None:
        target["proposals"] = torch.from_numpy(sample.proposals.astype(np.float32))
    if keypoints and truth.keypoints is not None:  # an image without annotations has none
        target["keypoints"] = torch.from_numpy(truth.keypoints[indices].astype(np.float32))
    if masks:
        size = sample.pixels.shape[:2]
        decoded = [rle.decode(truth.masks[int(index)], *size) for index in indices]
        target["masks"] = torch.from_numpy(np.stack([np.zeros(size, np.bool_), *decoded])[1:].astype(np.uint8))
    return target


def _has_area(truth: GroundTruth) -> NDArray[np.bool_]:
    return np.asarray((truth.boxes[:, 2:] > truth.boxes[:, :2]).all(axis=1))


def missing(facts: Facts, train: Sequence[Sample], *, keypoints: bool = False) -> str | None:
    """What a train split lacks: an object that is trained on, or one with a keypoint; None if it has one."""
    for sample in train if any(facts.class_counts) else ():
        truth = GroundTruth.of(sample)
        truth = oks.ignore_unlabelled(truth) if keypoints else truth
        if (_has_area(truth) & ~truth.ignored).any():
            return None
    return "no object with keypoints" if keypoints else "no box"


def rows(sample: Sample, prediction: Detections, *, masks: bool = False) -> dict[str, Any]:
    """The row of one image: each detection's label, score and matches, each true object's label and `counted`.

    `box_matches` are the bytes of N×4×10 matches of boxes by area range and overlap (metrics/coco_ap.py),
    `box_voc_matches` those of N (metrics/voc_ap.py); `mask_matches` and `mask_voc_matches` are those of masks.
    `counted` are the bytes of M×4 flags. `errors`, `corrected` and `missed`, of masks if there are any, are those of
    metrics/detection_errors.py. Severity: see `mistakes`.
    """
    height, width = sample.pixels.shape[:2]
    truth = GroundTruth.of(sample)
    detections = prediction.take(coco_ap.rank_detections(prediction.scores, prediction.labels))
    ignored = truth.ignored[:, None] | coco_ap.outside(truth.areas)
    boxes = detections.boxes_in_pixels(height, width)

    def match(prefix: str, overlap: NDArray[np.float64], areas: NDArray[np.float64]) -> dict[str, NDArray[np.uint8]]:
        labels, wrong_area = detections.labels, coco_ap.outside(areas * area_scale(sample))
        coco = coco_ap.match_detections(overlap, labels, wrong_area, truth.labels, ignored, truth.crowd)
        voc = voc_ap.match_detections(overlap, labels, truth.labels, truth.ignored, truth.crowd)
        return {f"{prefix}matches": coco, f"{prefix}voc_matches": voc}

    overlap = geometry.iou(boxes, truth.boxes, truth.crowd)
    matches = match("box_", overlap, geometry.area(boxes))
    if masks:
        encoded = detections.masks_in_pixels(height, width)
        areas = np.array([rle.area(mask) for mask in encoded], np.float64)
        overlap = rle.iou(encoded, truth.masks, truth.crowd)
        matches |= match("mask_", overlap, areas)
    scored = matches["mask_matches" if masks else "box_matches"]
    errors = detection_errors.classify(overlap, detections.labels, scored[:, 0, 0], truth.labels, ~ignored[:, 0])
    return {
        "labels": detections.labels.tolist(),
        "scores": detections.scores.tolist(),
        **{name: value.tobytes() for name, value in matches.items()},
        "true_labels": truth.labels.tolist(),
        "counted": (~ignored).astype(np.uint8).tobytes(),
        "errors": errors.kinds.tobytes(),
        "corrected": errors.corrected.tolist(),
        "missed": errors.missed.tobytes(),
        "severity": mistakes(scored, detections, ignored),
    }


def mistakes(matches: NDArray[np.uint8], detections: Detections, ignored: NDArray[np.bool_]) -> float:
    """Number of visible mistakes: shown false positives, and objects missed that are not `ignored` (M×4 by area)."""
    shown = matches[detections.scores >= SHOWN, 0, 0]
    missed = (~ignored[:, 0]).sum() - (shown == coco_ap.TRUE_POSITIVE).sum()
    return float(missed + (shown == coco_ap.FALSE_POSITIVE).sum())


def scores(table: pa.Table, settings: Settings, detections: int, prefix: str = "box_") -> Scorer:
    """COCO's and PASCAL VOC's scores from the matches of a prefix, which the scores' names get too."""
    coco = coco_ap.scores(table, settings.classes, f"{prefix}matches", detections)
    voc = voc_ap.scores(table, len(settings.classes), f"{prefix}voc_matches")

    def score(counts: Counts) -> dict[str, float]:
        return {f"{prefix}{name}": value for name, value in (coco(counts) | voc(counts)).items()}

    return score


def answer(sample: Sample, prediction: Detections, settings: Settings) -> dict[str, Any]:
    """Flat boxes (x_min, y_min, x_max, y_max in the image's own pixels), labels and scores."""
    return {
        "boxes": prediction.boxes_in_pixels(*sample.pixels.shape[:2]).ravel().tolist(),
        "labels": [settings.classes[label] for label in prediction.labels],
        "scores": prediction.scores.tolist(),
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Detections:
    """The detections of a served answer."""
    height, width = sample.pixels.shape[:2]
    boxes = np.asarray(answered["boxes"], np.float64).reshape(-1, 4) / [width, height, width, height]
    labels = np.array([settings.classes.index(name) for name in answered["labels"]], np.int64)
    return Detections(boxes, labels, np.asarray(answered["scores"], np.float64))
