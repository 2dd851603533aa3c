"""First detectors: a small residual network with a pyramid; size and anchors follow the boxes of the train split."""

from typing import Any

import numpy as np

from pipeline.recipes.parts import augmentations
from pipeline.recipes.parts.statistics import TrainStatistics
from pipeline.recipes.parts.wishes import Wishes

#: input sizes, and the side in pixels that at least seven boxes in eight must have: an object of half of it is found,
#: but can't be named
SIDES, SMALL_PX = (128, 192, 256, 320, 416), 24
#: images shown in all, by preset, and the largest number of epochs
BUDGETS, MOST_EPOCHS = {"fast": 4000, "good": 10_000, "best": 20_000}, {"fast": 30, "good": 60, "best": 100}
#: quantiles of the boxes' sides that give the anchors: one per level of the pyramid
QUANTILES = (0.125, 0.375, 0.625, 0.875)
#: for which a published backbone does not change
FROZEN_EPOCHS = 2
NETWORK = {
    "backbone": "resnet",
    "backbone_options": {"width": 32},
    "levels": ["layer1", "layer2", "layer3"],
    "width": 64,
    "head_width": 256,
}


def first(statistics: TrainStatistics, wishes: Wishes) -> dict[str, Any]:
    """Settings of a detector; with a published backbone, which is frozen for the first epochs, where there is one."""
    run = {"augmentation": augmentations.of_positions(), **_run(statistics, wishes.preset)}
    options = _anchors(statistics)
    if wishes.published is None or wishes.preset == "fast":
        because = f"from scratch at {run['size']} px, at which most objects are {SMALL_PX} px wide or more"
        return {"because": because, **run, "options": {**NETWORK, **options}}
    published = wishes.published
    backbone = {"backbone": published.architecture, "backbone_options": published.options, "width": 128}
    return {
        "because": f"{published.origin} as backbone, frozen for the first {FROZEN_EPOCHS} epochs",
        **run,
        "channels": 3,
        "pretrained": published.pretrained,
        "unfreeze": {"backbone": FROZEN_EPOCHS},
        "ema": 0.99,
        "options": {**backbone, "head_width": 256, **options},
    }


def with_head(dataset: str, statistics: TrainStatistics, wishes: Wishes, **head: int) -> dict[str, Any]:
    """Settings of a detector with another head, which starts from the dataset's first detector."""
    start = first(statistics, wishes)
    epochs = max(4, start["epochs"] // 2)
    because = "starts from the detector of the same images, and learns its own head"
    kept = {name: value for name, value in start.items() if name != "unfreeze"}
    options = {**start["options"], **head}
    pretrained = {"job": f"{dataset}-faster_rcnn"}
    return {**kept, "because": because, "epochs": epochs, "pretrained": pretrained, "options": options}


def _side(statistics: TrainStatistics) -> int:
    small = np.quantile(statistics.boxes, QUANTILES[0])
    return next((side for side in SIDES if side * small >= SMALL_PX), SIDES[-1])


def _run(statistics: TrainStatistics, preset: str) -> dict[str, Any]:
    adamw = {"optimizer": "adamw", "warmup": 0.5}
    epochs = statistics.epochs(BUDGETS[preset], MOST_EPOCHS[preset])
    return {
        "epochs": epochs,
        "size": _side(statistics),
        "fit": "letterbox",
        "batch": 4,
        **adamw,
        "lr": 0.0007,
        "clip": 5.0,
    }


def _anchors(statistics: TrainStatistics) -> dict[str, Any]:
    sides = [
        max(4, round(float(fraction) * _side(statistics))) for fraction in np.quantile(statistics.boxes, QUANTILES)
    ]
    return {"anchors": sides, "proposals": 100 if statistics.crowded <= 50 else 300, "samples": 32}
