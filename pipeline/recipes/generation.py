"""A first generator: a small DCGAN, for images without labels."""

from typing import Any

from pipeline.recipes.parts.statistics import TrainStatistics


def jobs(dataset: str, statistics: TrainStatistics) -> dict[str, dict[str, Any]]:
    """One job, scored by 8×8 gray pixels until an `extractor` is named."""
    adamw = {"optimizer": "adamw", "lr": 0.001, "momentum": 0.5, "ema": 0.99}
    return {
        "dcgan": {
            "options": {"width": 16, "latent": 32},
            "size": 32,
            "fit": "crop",
            "epochs": statistics.epochs(40_000, 60),
            "batch": 16,
            **adamw,
        }
    }
