"""First detectors: a small residual network with a pyramid; size and anchors follow the boxes of the train split."""

from typing import Any

import numpy as np

from pipeline.recipes.parts.statistics import TrainStatistics

#: input sizes, and the side in pixels that at least seven boxes in eight must have
SIDES, SMALL_PX = (128, 192, 256, 320), 16
#: quantiles of the boxes' sides that give the anchors: one per level of the pyramid
QUANTILES = (0.125, 0.375, 0.625, 0.875)
NETWORK = {
    "backbone": "resnet",
    "backbone_options": {"width": 32},
    "levels": ["layer1", "layer2", "layer3"],
    "width": 64,
    "head_width": 256,
}


def from_scratch(statistics: TrainStatistics) -> dict[str, Any]:
    """Settings of a detector."""
    run = {"epochs": statistics.epochs(4000, 30), **_boxes(statistics)}
    return {**run, "options": {**NETWORK, **_anchors(statistics)}}


def with_head(dataset: str, statistics: TrainStatistics, **head: int) -> dict[str, Any]:
    """Settings of a detector with another head, which starts from the dataset's first detector."""
    run = {"epochs": statistics.epochs(2000, 15), **_boxes(statistics), "pretrained": {"job": f"{dataset}-faster_rcnn"}}
    return {**run, "options": {**NETWORK, **_anchors(statistics), **head}}


def _side(statistics: TrainStatistics) -> int:
    small = np.quantile(statistics.boxes, QUANTILES[0])
    return next((side for side in SIDES if side * small >= SMALL_PX), SIDES[-1])


def _boxes(statistics: TrainStatistics) -> dict[str, Any]:
    adamw = {"optimizer": "adamw", "warmup": 0.5}
    return {"size": _side(statistics), "fit": "letterbox", "batch": 4, **adamw, "lr": 0.0007, "clip": 5.0}


def _anchors(statistics: TrainStatistics) -> dict[str, Any]:
    sides = [
        max(4, round(float(fraction) * _side(statistics))) for fraction in np.quantile(statistics.boxes, QUANTILES)
    ]
    return {"anchors": sides, "proposals": 100 if statistics.crowded <= 50 else 300, "samples": 32}
