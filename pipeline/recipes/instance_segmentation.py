"""A first Mask R-CNN, which starts from the first detector."""

from typing import Any

from pipeline.recipes.parts import detectors
from pipeline.recipes.parts.statistics import TrainStatistics
from pipeline.recipes.parts.wishes import Wishes


def jobs(dataset: str, statistics: TrainStatistics, wishes: Wishes) -> dict[str, dict[str, Any]]:
    """One job, or none if the train split has no box."""
    if not statistics.boxes.size:
        return {}
    return {"mask_rcnn": detectors.with_head(dataset, statistics, wishes, mask_width=64, mask_layers=2)}
