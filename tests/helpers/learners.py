"""A small job of each kind of learner: what the loop promises, it promises for all of them."""

from pathlib import Path
from typing import Any

from pipeline.train.job_state import JobSpec
from tests.helpers import support

#: an odd number of train samples in all jobs, so that no batch size cuts them evenly
DATASETS = {
    "digits": {"format": "digits"},
    "scenes": {"format": "scenes", "options": {"train": 21, "val": 5, "test": 2}},
}
TRAIN_IMAGES = 203
CLASSIFIER: dict[str, Any] = {
    "train_images": TRAIN_IMAGES,
    "augmentation": "light",
    "batch": 50,
    "warmup": 0.5,
    "ema": 0.9,
}
#: two phases, the second at every other batch, and noise from torch's stream
GAN: dict[str, Any] = {
    "train_images": TRAIN_IMAGES,
    "task": "generation",
    "architecture": "dcgan",
    "options": {"width": 4, "latent": 8},
    "loss": {"every": 2},
    "size": 16,
    "batch": 64,
    "optimizer": "adamw",
    "momentum": 0.5,
    "lr": 0.002,
    "ema": 0.9,
}
#: proposals are drawn from torch's stream
DETECTOR: dict[str, Any] = {
    "task": "detection",
    "architecture": "faster_rcnn",
    "dataset": "scenes",
    "options": {
        "backbone_options": {"width": 8},
        "width": 16,
        "head_width": 32,
        "anchors": [16, 24, 32, 48, 64],
        "proposals": 20,
        "samples": 16,
    },
    "channels": 3,
    "size": 64,
    "batch": 4,
    "optimizer": "adamw",
    "lr": 0.001,
    "clip": 5.0,
}
#: dropout is drawn from torch's stream
SEGMENTER: dict[str, Any] = {
    "task": "segmentation",
    "architecture": "unet",
    "dataset": "scenes",
    "options": {"width": 4, "depth": 2},
    "channels": 3,
    "size": 32,
    "batch": 4,
    "optimizer": "adamw",
    "lr": 0.003,
    "ema": 0.9,
}


def job_specs(root: Path, data: Path, jobs: dict[str, dict[str, Any]]) -> dict[str, JobSpec]:
    """The jobs, resolved, in a fresh root on data prepared elsewhere."""
    (root / "data").symlink_to(data / "data")
    return support.job_specs(root, support.write_params(root, jobs, datasets=DATASETS))
