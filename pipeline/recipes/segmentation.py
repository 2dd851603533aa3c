"""A first segmenter: a small U-Net."""

from typing import Any

from pipeline.recipes.parts.statistics import TrainStatistics


def jobs(dataset: str, statistics: TrainStatistics) -> dict[str, dict[str, Any]]:
    """One job; it sees larger images where they are larger."""
    options = {"width": 16, "depth": 3, "norm": "batch", "dropout": 0}
    adamw = {"optimizer": "adamw", "warmup": 0.5, "lr": 0.003, "weight_decay": 0.01}
    run = {"fit": "letterbox", "epochs": statistics.epochs(4000, 30), "batch": 4, **adamw}
    return {"unet": {"options": options, "loss": {"dice": 0.5}, "size": 64 if statistics.side <= 96 else 128, **run}}
