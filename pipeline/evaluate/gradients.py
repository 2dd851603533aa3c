"""The gradient norm of the loss at each convolution: do gradients vanish or explode towards the early layers?

Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, section 4: in deep networks gradients shrink
or grow from layer to layer.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline import checkpoint, plugins, shards
from pipeline.augment.fit import Fit
from pipeline.images import spread
from pipeline.learners.base import Learner
from pipeline.params import Job
from pipeline.seeds import seed_of

IMAGES = 128


def measure(model: Path, job: Job, prepared: Path) -> dict[str, Any]:
    """Euclidean norms of the gradient of each convolution's weights, first to last, over some train images.

    before: with the initial weights of the job's seed · after: with the trained weights.
    """
    stored = shards.split(prepared, "train")
    chosen = spread(len(stored), IMAGES)
    fit = Fit(job.size, job.fit)
    inputs = [fit.forward(stored[int(index)])[0] for index in chosen]
    after, description = checkpoint.load(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("weights", job.seed))
        before = checkpoint.build(description)
        images, targets = plugins.load("tasks", job.task).collate(inputs, after.settings)
        return {
            "layers": [name for name, _ in _convolutions(before)],
            "before": _norms(before, images, targets),
            "after": _norms(after, images, targets),
        }


def _convolutions(learner: Learner) -> list[tuple[str, nn.Module]]:
    return [(name, layer) for name, layer in learner.network.named_modules() if isinstance(layer, nn.Conv2d)]


def _norms(learner: Learner, images: torch.Tensor, targets: Any) -> list[float]:
    """One norm per convolution, in training mode, because training minimises the loss with batch statistics."""
    learner.train()
    losses = learner(images, targets, learner.phases[0].name)
    learner.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    gradients = [layer.get_parameter("weight").grad for _, layer in _convolutions(learner)]
    return [0.0 if gradient is None else float(f"{float(gradient.norm()):.6g}") for gradient in gradients]
