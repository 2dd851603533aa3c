"""A first detector: a small Faster R-CNN."""

from typing import Any

from pipeline.recipes.parts import detectors
from pipeline.recipes.parts.statistics import TrainStatistics


def jobs(dataset: str, statistics: TrainStatistics) -> dict[str, dict[str, Any]]:
    """One job, or none if the train split has no box."""
    if not statistics.boxes.size:
        return {}
    return {"faster_rcnn": detectors.from_scratch(statistics)}
