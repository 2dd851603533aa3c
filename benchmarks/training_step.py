"""What the train loop costs beside a bare PyTorch loop: LeNet-5, batches of 256, the same tensors and steps."""

import dataclasses
import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional as F

from benchmarks.parts import ratios, sample_data
from pipeline.models.parts.spec import Spec, build_network
from pipeline.train import loader, loop, prefetch
from pipeline.train.ranks import Ranks

TITLE = "a bare loop's training steps, LeNet-5, batch 256"
NEEDS = ()
STEPS, BATCH = 40, 256


def measure() -> ratios.Ratio:
    """The same steps on both sides."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        job_spec = sample_data.digits(Path(folder), "lenet5", batch=BATCH, augmentation=None)
        trainer = loop.Trainer(dataclasses.replace(job_spec, work=Path(folder)), Ranks())
        images = torch.randint(0, 255, (BATCH, 1, 32, 32), dtype=torch.uint8)
        batch = (images, torch.randint(0, 10, (BATCH,)))
        network = build_network("lenet5", Spec("classification", 10, 1, 32), {})
        descent = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, weight_decay=5e-4)

        def bare() -> None:
            for _ in range(STEPS):
                descent.zero_grad(set_to_none=True)
                values = (batch[0].float() / 255 - 0.3) / 0.4
                F.cross_entropy(network(values), batch[1]).backward()
                descent.step()

        def ours() -> None:
            with mock.patch.object(prefetch, "on_device", return_value=[batch] * STEPS):
                trainer.steps_per_epoch = trainer.stepper.steps_per_epoch = STEPS
                trainer.learner.train()
                plan = loader.Plan(STEPS * BATCH, BATCH, 0)
                with mock.patch.object(trainer, "_plan", return_value=plan):
                    trainer._pass(0, 0.0)

        return ratios.ratio(ours, bare)
