"""A first Mask R-CNN with keypoints, which starts from the first detector."""

from typing import Any

from pipeline.recipes.parts import augmentations, detectors
from pipeline.recipes.parts.statistics import TrainStatistics
from pipeline.recipes.parts.wishes import Wishes


def jobs(dataset: str, statistics: TrainStatistics, wishes: Wishes) -> dict[str, dict[str, Any]]:
    """One job, or none if the train split has no box."""
    if not statistics.boxes.size:
        return {}
    head = detectors.with_head(dataset, statistics, wishes, keypoint_width=64, keypoint_layers=3)
    return {"mask_rcnn-keypoints": {"architecture": "mask_rcnn", **head, "augmentation": augmentations.of_keypoints()}}
