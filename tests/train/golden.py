"""A small job of every task, and the losses of its first ten steps as they were recorded, in golden_losses.json.

`python -m tests.train.golden [TASK …]` records them anew. Do that only where a result is meant to change, and say in
the commit which and why: these numbers tell a refactor that changes a result from one that does not.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipeline.train import loop
from pipeline.train.job_state import JobSpec
from pipeline.train.ranks import Ranks
from tests.helpers import support

FILE = Path(__file__).with_name("golden_losses.json")
STEPS = 10
#: drawn in the test; two epochs of five steps, so that a validation lies between the steps
DATASETS = {
    "digits": {"format": "digits"},
    "single": {"format": "single", "options": {"train": 40, "val": 4, "test": 4}},
    "scenes": {
        "format": "scenes",
        "options": {"train": 20, "val": 4, "test": 4},
        "derived": {"border_weights": {"w0": 1.0, "sigma": 2.0}},
    },
}
ADAMW: dict[str, Any] = {"optimizer": "adamw", "lr": 0.001, "epochs": 2}
#: by SGD, as AdamW's first steps go as far where a gradient is nothing but rounding
REGIONS: dict[str, Any] = {
    "lr": 0.002,
    "epochs": 2,
    "dataset": "scenes",
    "channels": 3,
    "size": 64,
    "batch": 4,
    "clip": 5.0,
    "warmup": 0.5,
}
REGION_OPTIONS: dict[str, Any] = {
    "backbone": "resnet",
    "backbone_options": {"width": 8},
    "width": 16,
    "head_width": 32,
    "levels": ["layer2", "layer3"],
    "anchors": [16, 24, 32],
    "proposals": 100,
    "samples": 256,
}
#: by task
JOBS: dict[str, dict[str, Any]] = {
    "classification": {
        "architecture": "resnet",
        "options": {"depth": 20, "width": 4},
        "augmentation": "light",
        "train_images": 80,
        "size": 16,
        "batch": 16,
        "epochs": 2,
        "lr": 0.004,
        "warmup": 1,
        "weight_decay": 0.001,
        "ema": 0.9,
    },
    "localization": {
        **ADAMW,
        "architecture": "cam",
        "options": {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}, "level": "layer2", "width": 8},
        "dataset": "single",
        "channels": 3,
        "batch": 8,
        "size": 32,
    },
    "segmentation": {
        **ADAMW,
        "architecture": "unet",
        "options": {"width": 4, "depth": 2},
        "loss": {"class_weights": {"background": 0.1}, "dice": 0.5, "border_weights": True},
        "dataset": "scenes",
        "channels": 3,
        "size": 32,
        "batch": 4,
    },
    "detection": {**REGIONS, "architecture": "faster_rcnn", "options": REGION_OPTIONS},
    "instance_segmentation": {
        **REGIONS,
        "architecture": "mask_rcnn",
        "options": {**REGION_OPTIONS, "mask_width": 8, "mask_layers": 2},
    },
    "keypoint_detection": {
        **REGIONS,
        "architecture": "mask_rcnn",
        "options": {**REGION_OPTIONS, "keypoint_width": 8, "keypoint_layers": 2},
    },
    "generation": {
        **ADAMW,
        "architecture": "dcgan",
        "options": {"width": 4, "latent": 8, "conditional": True},
        "loss": {"every": 2},
        "train_images": 80,
        "size": 16,
        "batch": 16,
        "momentum": 0.5,
        "ema": 0.9,
    },
}


def recorded() -> dict[str, list[float]]:
    """The golden losses, by task."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def prepare(root: Path) -> dict[str, JobSpec]:
    """Make the data of all jobs in an empty folder; returns the jobs, resolved, by task."""
    params = support.write_params(root, {task: {"task": task, **job} for task, job in JOBS.items()}, datasets=DATASETS)
    support.prepared(root, params)
    return support.job_specs(root, params)


def measure(job_spec: JobSpec, work: Path, **changes: Any) -> list[float]:
    """Train a job, with some settings changed, in an empty folder; returns the loss of each step."""
    torch.set_num_threads(1)
    trainer = loop.Trainer(replace(job_spec, work=work, job=job_spec.job.model_copy(update=changes)), Ranks())
    losses, take_step = [], trainer._step

    def record_step(batch: tuple[torch.Tensor, Any], weight: float) -> dict[str, torch.Tensor]:
        step_losses = take_step(batch, weight)
        losses.append(float(f"{step_losses['loss'].item():.7g}"))
        return step_losses

    trainer._step = record_step  # type: ignore[method-assign]
    while not trainer.finished:
        trainer.epoch()
    return losses


def main() -> int:
    """Record the losses of the named tasks, or of all."""
    parser = argparse.ArgumentParser(description="Record the golden losses.")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="tasks to record; all if none is named")
    golden = recorded() if FILE.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        job_specs = prepare(Path(folder))
        for task in parser.parse_args().tasks or job_specs:
            golden[task] = measure(job_specs[task], Path(folder) / task)
    lines = [f"  {json.dumps(task)}: {json.dumps(golden[task])}" for task in sorted(golden)]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    sys.exit(main())
