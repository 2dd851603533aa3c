"""A first detector: Faster R-CNN, on a published backbone where `good` is asked for and there is one."""

from typing import Any

from pipeline.recipes.parts import detectors
from pipeline.recipes.parts.statistics import TrainStatistics
from pipeline.recipes.parts.wishes import Wishes


def jobs(dataset: str, statistics: TrainStatistics, wishes: Wishes) -> dict[str, dict[str, Any]]:
    """One job, or none if the train split has no box."""
    if not statistics.boxes.size:
        return {}
    return {"faster_rcnn": detectors.first(statistics, wishes)}
