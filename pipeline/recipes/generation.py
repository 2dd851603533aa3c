"""A first generator: a small DCGAN, for images without labels."""

from typing import Any

from pipeline.recipes.parts.statistics import TrainStatistics
from pipeline.recipes.parts.wishes import Wishes


def jobs(dataset: str, statistics: TrainStatistics, wishes: Wishes) -> dict[str, dict[str, Any]]:
    """One job, scored by 8×8 gray pixels until an `extractor` is named."""
    adamw = {"optimizer": "adamw", "lr": 0.001, "momentum": 0.5, "ema": 0.99}
    return {
        "dcgan": {
            "because": "a small DCGAN; name an `extractor` for a score that means more than that of 8×8 gray pixels",
            "options": {"width": 16, "latent": 32},
            "size": 32,
            "fit": "crop",
            "epochs": statistics.epochs(40_000, 60),
            "batch": 16,
            **adamw,
        }
    }
