"""Suggests first jobs for a dataset: small networks from scratch that train in minutes on two cores, to be edited.

Sizes, anchors and epochs follow from the train split only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import plugins
from pipeline.sample import Facts, Shards

Jobs = dict[str, dict[str, Any]]
#: input sizes for detection, and the side in pixels that at least seven boxes in eight must have
SIDES, SMALL_PX = (128, 192, 256, 320), 16
#: quantiles of the boxes' sides that give the anchors: one per level of the pyramid
QUANTILES = (0.125, 0.375, 0.625, 0.875)
DETECTOR = {
    "backbone": "resnet",
    "backbone_options": {"width": 32},
    "levels": ["layer1", "layer2", "layer3"],
    "width": 64,
    "head_width": 256,
}
ADAMW = {"optimizer": "adamw", "warmup": 0.5}


@dataclass(frozen=True)
class TrainStatistics:
    """What the jobs depend on: number of train images, channels, median side, and box sides relative to the image's."""

    images: int
    channels: int
    side: int
    boxes: NDArray[np.float64]
    crowded: int

    @classmethod
    def of(cls, facts: Facts, train: Shards) -> "TrainStatistics":
        """The statistics of a prepared dataset; `crowded` is the largest number of boxes in an image."""
        height, width = (np.array(train.column(name), float) for name in ("height", "width"))
        listed = [np.array(boxes or [], float).reshape(-1, 4) for boxes in train.column("boxes")]
        fractions = [
            np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (high * wide))
            for boxes, high, wide in zip(listed, height, width, strict=True)
        ]
        gray = len(set(facts.mean["3"])) == len(set(facts.std["3"])) == 1
        return cls(
            images=len(train),
            channels=1 if gray else 3,
            side=int(np.median(np.maximum(height, width))),
            boxes=np.concatenate(fractions),
            crowded=max(map(len, listed)),
        )

    def epochs(self, budget: int, most: int) -> int:
        """Epochs that show the network `budget` images in all, from 4 to `most`."""
        return max(4, min(most, math.ceil(budget / self.images)))


def tasks(facts: Facts) -> list[str]:
    """Tasks whose needs every sample meets; not those without needs, which are always possible."""
    needs = {name: plugins.constant("tasks", name, "NEEDS") for name in plugins.names("tasks")}
    return [name for name, needed in needs.items() if needed and set(needed) <= set(facts.fields)]


def jobs(dataset: str, possible: list[str], statistics: TrainStatistics) -> Jobs:
    """First jobs by name, for the tasks that have a recipe."""
    suggested: Jobs = {}
    for task, recipe in RECIPES.items():
        if task in possible:
            for architecture, settings in recipe(dataset, statistics).items():
                start = {"core": True, "task": task, "architecture": architecture, "dataset": dataset}
                suggested[f"{dataset}-{architecture}"] = {**start, "channels": statistics.channels, **settings}
    return suggested


def _classification(dataset: str, statistics: TrainStatistics) -> Jobs:
    side = 32 if statistics.side <= 48 else 64
    epochs = statistics.epochs(60_000, 30)
    sgd = {"epochs": epochs, "batch": 32, "warmup": 1, "weight_decay": 0.0005}
    return {
        "lenet5": {"size": 32, **sgd, "lr": 0.02},
        "resnet": {"options": {"depth": 20, "width": 8}, "size": side, **sgd, "lr": 0.1},
    }


def _segmentation(dataset: str, statistics: TrainStatistics) -> Jobs:
    options = {"width": 16, "depth": 3, "norm": "batch", "dropout": 0}
    run = {"epochs": statistics.epochs(4000, 30), "batch": 4, **ADAMW, "lr": 0.003, "weight_decay": 0.01}
    return {"unet": {"options": options, "loss": {"dice": 0.5}, "size": 64 if statistics.side <= 96 else 128, **run}}


def _detection(dataset: str, statistics: TrainStatistics) -> Jobs:
    run = {"epochs": statistics.epochs(4000, 30), **_boxes(statistics)}
    return {"faster_rcnn": {**run, "options": {**DETECTOR, **_anchors(statistics)}}}


def _instance_segmentation(dataset: str, statistics: TrainStatistics) -> Jobs:
    return {"mask_rcnn": _more(dataset, statistics, mask_width=64, mask_layers=2)}


def _keypoint_detection(dataset: str, statistics: TrainStatistics) -> Jobs:
    head = _more(dataset, statistics, keypoint_width=64, keypoint_layers=3)
    return {"mask_rcnn-keypoints": {"architecture": "mask_rcnn", **head}}


def _more(dataset: str, statistics: TrainStatistics, **head: int) -> dict[str, Any]:
    """A detector with another head, which starts from the dataset's first detector."""
    run = {"epochs": statistics.epochs(2000, 15), **_boxes(statistics), "pretrained": {"job": f"{dataset}-faster_rcnn"}}
    return {**run, "options": {**DETECTOR, **_anchors(statistics), **head}}


def _side(statistics: TrainStatistics) -> int:
    small = np.quantile(statistics.boxes, QUANTILES[0])
    return next((side for side in SIDES if side * small >= SMALL_PX), SIDES[-1])


def _boxes(statistics: TrainStatistics) -> dict[str, Any]:
    return {"size": _side(statistics), "batch": 4, **ADAMW, "lr": 0.0007, "clip": 5.0}


def _anchors(statistics: TrainStatistics) -> dict[str, Any]:
    sides = [
        max(4, round(float(fraction) * _side(statistics))) for fraction in np.quantile(statistics.boxes, QUANTILES)
    ]
    return {"anchors": sides, "proposals": 100 if statistics.crowded <= 50 else 300, "samples": 32}


RECIPES: dict[str, Callable[[str, TrainStatistics], Jobs]] = {
    "classification": _classification,
    "detection": _detection,
    "instance_segmentation": _instance_segmentation,
    "keypoint_detection": _keypoint_detection,
    "segmentation": _segmentation,
}
