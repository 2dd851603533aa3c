"""Every kind of learner takes a step in the order of memory that networks have on CUDA, tried here on a CPU."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.train import loader, loop
from pipeline.train.ranks import Ranks
from tests.helpers import learners

HEADS = {
    "instance_segmentation": {"mask_width": 8, "mask_layers": 1},
    "keypoint_detection": {"keypoint_width": 8, "keypoint_layers": 1},
}
JOBS: dict[str, dict[str, Any]] = {
    "classifier": learners.CLASSIFIER,
    "gan": learners.GAN,
    "segmenter": learners.SEGMENTER,
    "detector": learners.DETECTOR,
    **{
        task: {
            **learners.DETECTOR,
            "task": task,
            "architecture": "mask_rcnn",
            "options": {**learners.DETECTOR["options"], **options},
        }
        for task, options in HEADS.items()
    },
}


@pytest.mark.parametrize("name", JOBS)
def test_a_step_in_channels_last(prepared: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order = learners.job_specs(tmp_path, prepared, {name: {**JOBS[name], "augmentation": None}})[name]
    trainer = loop.Trainer(order, Ranks())
    trainer.stepper.cuda, trainer.learner = True, trainer.learner.to(memory_format=torch.channels_last)
    monkeypatch.setattr(trainer.stepper, "autocast", contextlib.nullcontext)
    batch = next(iter(loader.Loader(trainer.samples, order.job, trainer.settings).batches(list(trainer._plan(0))[:1])))
    losses = trainer._step(batch, 1.0)
    assert torch.isfinite(losses["loss"])
