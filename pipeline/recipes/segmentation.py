"""A first segmenter: a small U-Net, larger and longer trained as the preset asks."""

from typing import Any

from pipeline.recipes.parts import augmentations
from pipeline.recipes.parts.statistics import TrainStatistics
from pipeline.recipes.parts.wishes import Wishes

#: by preset: width of the first level, images shown in all, largest number of epochs, side of large images
WIDTH = {"fast": 16, "good": 24, "best": 32}
BUDGETS, MOST_EPOCHS = {"fast": 4000, "good": 10_000, "best": 20_000}, {"fast": 30, "good": 80, "best": 120}
SIDES = {"fast": 128, "good": 192, "best": 256}
SMALL_PX = 96


def jobs(dataset: str, statistics: TrainStatistics, wishes: Wishes) -> dict[str, dict[str, Any]]:
    """One job; it sees larger images where they are larger."""
    preset = wishes.preset
    options = {"width": WIDTH[preset], "depth": 3, "norm": "batch", "dropout": 0}
    small = statistics.side <= SMALL_PX
    return {
        "unet": {
            "because": "a small U-Net from scratch, with augmented images; the Dice loss helps rare classes",
            "options": options,
            "loss": {"dice": 0.5},
            "augmentation": augmentations.of_positions(),
            "size": 64 if small else SIDES[preset],
            "fit": "letterbox",
            "epochs": statistics.epochs(BUDGETS[preset], MOST_EPOCHS[preset]),
            "batch": 4,
            "optimizer": "adamw",
            "warmup": 0.5,
            "lr": 0.003,
            "weight_decay": 0.01,
        }
    }
