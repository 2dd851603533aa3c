"""A first segmenter: U-Net's decoder on a published encoder where `good` is asked for, else a small U-Net."""

from typing import Any

from pipeline.recipes.parts import augmentations
from pipeline.recipes.parts.statistics import TrainStatistics
from pipeline.recipes.parts.wishes import Published, Wishes

#: by preset: width of the first level, images shown in all, largest number of epochs, side of large images
WIDTH = {"fast": 16, "good": 24, "best": 32}
BUDGETS, MOST_EPOCHS = {"fast": 4000, "good": 10_000, "best": 20_000}, {"fast": 30, "good": 80, "best": 120}
SIDES = {"fast": 128, "good": 192, "best": 256}
SMALL_PX = 96


def jobs(dataset: str, statistics: TrainStatistics, wishes: Wishes) -> dict[str, dict[str, Any]]:
    """One job; it sees larger images where they are larger."""
    preset = wishes.preset
    run = {
        "loss": {"dice": 0.5},
        "augmentation": augmentations.of_positions(),
        "size": 64 if statistics.side <= SMALL_PX else SIDES[preset],
        "fit": "letterbox",
        "epochs": statistics.epochs(BUDGETS[preset], MOST_EPOCHS[preset]),
        "batch": 4,
        "optimizer": "adamw",
        "warmup": 0.5,
        "weight_decay": 0.01,
    }
    if wishes.published is None or wishes.published.architecture != "timm" or preset == "fast":
        return {"unet": _from_scratch(preset) | run}
    return {"unet": _tuned(wishes.published) | run}


def _from_scratch(preset: str) -> dict[str, Any]:
    return {
        "because": "a small U-Net from scratch, with augmented images; the Dice loss helps rare classes",
        "options": {"width": WIDTH[preset], "depth": 3, "norm": "batch", "dropout": 0},
        "lr": 0.003,
    }


def _tuned(published: Published) -> dict[str, Any]:
    encoder = f"tu-{published.options['name']}"
    return {
        "because": f"U-Net's decoder on {published.origin}; the average of its weights is kept (ema)",
        "architecture": "smp",
        "options": {"decoder": "unet", "encoder": encoder},
        "pretrained": published.pretrained,
        "channels": 3,
        "lr": 0.001,
        "ema": 0.99,
    }
