"""First classifiers: LeNet-5, and a small residual network."""

from typing import Any

from pipeline.recipes.parts.statistics import TrainStatistics


def jobs(dataset: str, statistics: TrainStatistics) -> dict[str, dict[str, Any]]:
    """Two jobs; the residual network sees larger images where they are larger."""
    side = 32 if statistics.side <= 48 else 64
    sgd = {"fit": "crop", "epochs": statistics.epochs(60_000, 30), "batch": 32, "warmup": 1, "weight_decay": 0.0005}
    return {
        "lenet5": {"size": 32, **sgd, "lr": 0.02},
        "resnet": {"options": {"depth": 20, "width": 8}, "size": side, **sgd, "lr": 0.1},
    }
