"""Every job's forward on a GPU in mixed precision, by fake tensors: nothing is left on the CPU.

A fake tensor has a device and a shape and no values, so no GPU is needed. A detector is followed up to its first
operation whose result's shape depends on values. The backward pass would need a GPU's own threads.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from pipeline import checkpoint, params, plugins, sample, studies
from pipeline.learners.base import Learner
from pipeline.params import Job
from pipeline.sample import Facts
from tests.helpers.annotated import SAMPLE

CLASSES = tuple("0123456789")
FACTS = Facts(
    format="digits",
    classes=CLASSES,
    semantic_classes=("background", *CLASSES),
    counts={"train": 100, "val": 10, "test": 10},
    class_counts=(10,) * 10,
    fields=(),
    mean={"1": [0.5], "3": [0.5] * 3},
    std={"1": [0.25], "3": [0.25] * 3},
    keypoints=("middle",),
)
ALL = params.read(Path(__file__).parents[2] / "params.yaml").jobs
#: one job of each architecture, task, loss and choice of options that names another network
KINDS = {
    (job.architecture, job.task, repr(sorted(job.loss.items())), str(job.options.get("backbone"))): name
    for name, job in reversed(ALL.items())
    if studies.study_of(name) is None
}
#: kinds of networks whose shapes depend on what they see
DETECTORS = {"detection", "instance_segmentation", "keypoint_detection"}


def batch(job: Job) -> Any:
    """Two samples with every annotation, as the task makes a batch of them."""
    item = sample.resized(SAMPLE, job.size, job.size)
    item = dataclasses.replace(item, weight=np.ones((job.size, job.size), np.float32))
    return plugins.load("tasks", job.task).collate([item, item], checkpoint.settings(job, FACTS))


def mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, list | tuple):
        return type(value)(mapped(item, function) for item in value)
    return {key: mapped(item, function) for key, item in value.items()} if isinstance(value, dict) else value


def to_cuda(learner: Learner) -> None:
    """As `to`, which has no fakes of parameters."""
    for module in learner.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                moved = nn.Parameter(parameter.detach().to("cuda"), requires_grad=parameter.requires_grad)
                module._parameters[name] = moved
        module._buffers.update(
            {name: buffer.to("cuda") for name, buffer in module._buffers.items() if buffer is not None}
        )


def losses_of(job: Job, fakes: FakeTensorMode) -> Iterator[Tensor]:
    """The losses of all phases, for a batch."""
    images, targets = mapped(batch(job), lambda tensor: fakes.from_tensor(tensor).to("cuda"))
    learner = checkpoint.build(checkpoint.describe(job, FACTS))
    to_cuda(learner)
    learner.train()
    images = images.contiguous(memory_format=torch.channels_last)
    for phase in learner.phases:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            yield torch.stack(list(learner(images, targets, phase.name).values())).sum()


@pytest.fixture
def autocast_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else autocast is off where there is no GPU."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_, **__: True)


@pytest.mark.usefixtures("autocast_without_cuda")
@pytest.mark.parametrize("name", sorted(KINDS.values()))
def test_a_forward_in_mixed_precision_stays_on_the_device(name: str) -> None:
    job = ALL[name]
    with FakeTensorMode(allow_non_fake_inputs=False) as fakes:
        try:
            losses = list(losses_of(job, fakes))
        except (DataDependentOutputException, DynamicOutputShapeException):
            assert job.task in DETECTORS
        else:
            assert all(loss.device.type == "cuda" for loss in losses)  # none of what is fitted without gradients


@pytest.mark.usefixtures("autocast_without_cuda")
def test_control_a_tensor_that_is_left_on_the_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Linear, "forward", lambda self, value: value @ torch.zeros(value.shape[-1], 10))
    with FakeTensorMode(allow_non_fake_inputs=False) as fakes, pytest.raises(RuntimeError, match="device"):
        list(losses_of(ALL["linear"], fakes))
