"""First jobs for a dataset: small networks from scratch that take minutes on two cores, to be changed by hand.

Sizes, anchors and epochs follow from the train split alone.
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
#: sides that detection may work at, and the pixels that one box in eight may fall short of
SIDES, SMALL_PX = (128, 192, 256, 320), 16
#: shares of the boxes that are smaller than each anchor: one anchor a map of the pyramid
QUANTILES = (0.125, 0.375, 0.625, 0.875)
DETECTOR = {
    "backbone": "resnet",
    "backbone_options": {"width": 32},
    "stages": ["layer1", "layer2", "layer3"],
    "width": 64,
    "head_width": 256,
}
ADAMW = {"optimizer": "adamw", "warmup": 0.5}


@dataclass(frozen=True)
class Seen:
    """What the jobs depend on: train images, channels, their usual side, and the boxes' sides as shares of it."""

    images: int
    channels: int
    side: int
    boxes: NDArray[np.float64]
    crowded: int

    @classmethod
    def of(cls, facts: Facts, train: Shards) -> "Seen":
        """Of a prepared dataset; crowded: boxes in the fullest image."""
        height, width = (np.array(train.column(name), float) for name in ("height", "width"))
        listed = [np.array(boxes or [], float).reshape(-1, 4) for boxes in train.column("boxes")]
        shares = [
            np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (high * wide))
            for boxes, high, wide in zip(listed, height, width, strict=True)
        ]
        gray = len(set(facts.mean["3"])) == len(set(facts.std["3"])) == 1
        return cls(
            images=len(train),
            channels=1 if gray else 3,
            side=int(np.median(np.maximum(height, width))),
            boxes=np.concatenate(shares),
            crowded=max(map(len, listed)),
        )

    def epochs(self, budget: int, most: int) -> int:
        """So many that `budget` images are seen in all, but 4 and no more than `most`."""
        return max(4, min(most, math.ceil(budget / self.images)))


def tasks(facts: Facts) -> list[str]:
    """Tasks whose needs every sample meets; those that need nothing of a sample are possible always, and left out."""
    needs = {name: plugins.constant("tasks", name, "NEEDS") for name in plugins.names("tasks")}
    return [name for name, needed in needs.items() if needed and set(needed) <= set(facts.fields)]


def jobs(dataset: str, possible: list[str], seen: Seen) -> Jobs:
    """First jobs by name, for the tasks that have a recipe."""
    found: Jobs = {}
    for task, recipe in RECIPES.items():
        if task in possible:
            for architecture, settings in recipe(dataset, seen).items():
                start = {"core": True, "task": task, "architecture": architecture, "dataset": dataset}
                found[f"{dataset}-{architecture}"] = {**start, "channels": seen.channels, **settings}
    return found


def _classification(dataset: str, seen: Seen) -> Jobs:
    side = 32 if seen.side <= 48 else 64
    epochs = seen.epochs(60_000, 30)
    sgd = {"epochs": epochs, "batch": 32, "warmup": 1, "weight_decay": 0.0005}
    return {
        "lenet5": {"size": 32, **sgd, "lr": 0.02},
        "resnet": {"options": {"depth": 20, "width": 8}, "size": side, **sgd, "lr": 0.1},
    }


def _segmentation(dataset: str, seen: Seen) -> Jobs:
    options = {"width": 16, "depth": 3, "norm": "batch", "dropout": 0}
    run = {"epochs": seen.epochs(4000, 30), "batch": 4, **ADAMW, "lr": 0.003, "weight_decay": 0.01}
    return {"unet": {"options": options, "loss": {"dice": 0.5}, "size": 64 if seen.side <= 96 else 128, **run}}


def _detection(dataset: str, seen: Seen) -> Jobs:
    run = {"epochs": seen.epochs(4000, 30), **_boxes(seen)}
    return {"faster_rcnn": {**run, "options": {**DETECTOR, **_anchors(seen)}}}


def _instance_segmentation(dataset: str, seen: Seen) -> Jobs:
    return {"mask_rcnn": _more(dataset, seen, mask_width=64, mask_layers=2)}


def _keypoint_detection(dataset: str, seen: Seen) -> Jobs:
    head = _more(dataset, seen, keypoint_width=64, keypoint_layers=3)
    return {"mask_rcnn-points": {"architecture": "mask_rcnn", **head}}


def _more(dataset: str, seen: Seen, **head: int) -> dict[str, Any]:
    """A detector with another head, which starts from the detector of the same data."""
    run = {"epochs": seen.epochs(2000, 15), **_boxes(seen), "pretrained": {"job": f"{dataset}-faster_rcnn"}}
    return {**run, "options": {**DETECTOR, **_anchors(seen), **head}}


def _side(seen: Seen) -> int:
    small = np.quantile(seen.boxes, QUANTILES[0])
    return next((side for side in SIDES if side * small >= SMALL_PX), SIDES[-1])


def _boxes(seen: Seen) -> dict[str, Any]:
    return {"size": _side(seen), "batch": 4, **ADAMW, "lr": 0.0007, "clip": 5.0}


def _anchors(seen: Seen) -> dict[str, Any]:
    sides = [max(4, round(float(share) * _side(seen))) for share in np.quantile(seen.boxes, QUANTILES)]
    return {"anchors": sides, "proposals": 100 if seen.crowded <= 50 else 300, "samples": 32}


RECIPES: dict[str, Callable[[str, Seen], Jobs]] = {
    "classification": _classification,
    "detection": _detection,
    "instance_segmentation": _instance_segmentation,
    "keypoint_detection": _keypoint_detection,
    "segmentation": _segmentation,
}
