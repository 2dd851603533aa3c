"""Augmentations of first jobs, by what an image's class or objects survive."""

from typing import Any

from pipeline.recipes.parts.statistics import TrainStatistics

Transforms = list[dict[str, dict[str, Any]]]

#: images up to this side are mostly characters or symbols, whose mirror image is another
SYMBOLS_PX = 48


def of_classes(statistics: TrainStatistics, preset: str) -> Transforms:
    """For a class of the whole image: random crops, mirrored, of other colors; small images are shifted instead."""
    if statistics.side <= SYMBOLS_PX:
        return [{"shift": {"limit": 0.1}}, {"rotation": {"degrees": 10}}, {"scale": {"limit": 0.1}}]
    if preset == "fast":
        crop = {"random_resized_crop": {"scale": [0.5, 1.0]}}
        return [crop, {"horizontal_flip": {}}, {"rotation": {"degrees": 10}}, {"contrast": {"limit": 0.2}}]
    crop = {"random_resized_crop": {"scale": [0.3, 1.0]}}
    return [crop, {"horizontal_flip": {}}, {"trivial_augment": {}}, {"cutout": {"area": [0.02, 0.2], "p": 0.25}}]


def of_positions() -> Transforms:
    """For boxes, masks and label maps: mirrored, shifted, scaled, of other contrast."""
    return [{"horizontal_flip": {}}, *of_keypoints()]


def of_keypoints() -> Transforms:
    """For keypoints, of which a left and a right one would have to change places in a mirrored image."""
    return [{"shift": {"limit": 0.1}}, {"scale": {"limit": 0.2}}, {"contrast": {"limit": 0.2}}]
