"""What the peers share: weights, batches, a step, the learning rate."""

import math
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import sample
from pipeline.learners.base import Settings
from pipeline.sample import Sample

SIDE = 224
Predict = Callable[[Sample], Any]
#: each step is an epoch of training, and gives what predicts after it; it is sent which part of the seconds is spent
Epochs = Generator[Predict, float, None]


def settings_of(prepared: Path) -> Settings:
    """The classes of prepared images."""
    facts = sample.facts(prepared)
    return Settings(facts.classes, facts.semantic_classes, facts.class_counts, 3, SIDE, (0.5,) * 3, (0.5,) * 3)


def network_of(weights: Path, **options: Any) -> nn.Module:
    """timm's network that the file is named as, with the file's weights; of a head, as many as fit."""
    import timm
    from safetensors.torch import load_file

    network: nn.Module = timm.create_model(weights.stem, pretrained=False, **options)
    own = network.state_dict()
    fitting = {name: value for name, value in load_file(weights).items() if name in own}
    fitting = {name: value for name, value in fitting.items() if value.shape == own[name].shape}
    network.load_state_dict(fitting, strict=False)
    return network


def batches(number: int, size: int) -> Iterator[list[int]]:
    """Random indices, each once."""
    for chosen in torch.randperm(number).split(size):
        if len(chosen) > 1:  # batch normalisation needs two
            yield chosen.tolist()


def anneal(descent: torch.optim.Optimizer, rate: float, spent: float) -> None:
    """A cosine from the learning rate to zero, over the seconds that there are."""
    for group in descent.param_groups:
        group["lr"] = rate * (1 + math.cos(math.pi * min(1, spent))) / 2


def step(descent: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of gradient descent."""
    descent.zero_grad(set_to_none=True)
    loss.backward()
    descent.step()
