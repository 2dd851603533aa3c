"""The optimiser of a phase, its learning rate as a function of the step, and the moving average of the weights.

The rate is computed from the step, so a resumed run needs no schedule state.
Cosine: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983. Linear warm-up: Goyal et al. 2017,
https://arxiv.org/abs/1706.02677. Poly: Liu et al. 2015, https://arxiv.org/abs/1506.04579.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pipeline.params import Job


def build(
    parameters: Iterable[nn.Parameter],
    job: Job,
    scales: Mapping[nn.Parameter, float] | None = None,
    *,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW; parameters with the same scale (default 1) are one group, with the key `scale`.

    fused: whether a step is one operation of the device, as CUDA has it.
    """
    by_scale: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_scale.setdefault((scales or {}).get(parameter, 1.0), []).append(parameter)
    groups = [{"params": by_scale[scale], "scale": scale} for scale in sorted(by_scale, reverse=True)]
    settings: dict[str, Any] = {"weight_decay": job.weight_decay, "fused": fused or None}
    if job.optimizer == "sgd":
        return torch.optim.SGD(groups, job.lr, momentum=job.momentum, nesterov=job.nesterov, **settings)
    return torch.optim.AdamW(groups, job.lr, betas=(job.momentum, 0.999), **settings)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set each group's rate to `lr` times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def rate(step: int, steps_per_epoch: int, job: Job) -> float:
    """The learning rate of a step, counted from 0."""
    warmup, total = job.warmup * steps_per_epoch, job.epochs * steps_per_epoch
    if step < warmup:
        return job.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, total - warmup)
    if job.schedule == "cosine":
        return job.lr * 0.5 * (1 + math.cos(math.pi * done))
    if job.schedule == "poly":
        return job.lr * (1 - done) ** job.power
    if job.schedule == "step":
        return job.lr * job.gamma ** sum(step >= epoch * steps_per_epoch for epoch in job.milestones)
    return job.lr


class Average(AveragedModel):
    """The exponential moving average of a network's weights and buffers.

    torch's own update copies its count to the device, and waits for it, at every step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move each value towards that of the model; the first time it becomes that."""
        pairs = [*zip(_values(self.module), _values(model), strict=True)]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        if self.n_averaged == 0:
            for averaged, current in pairs:
                averaged.copy_(current)
        else:
            torch._foreach_lerp_([pair[0] for pair in floats], [pair[1] for pair in floats], 1 - self._decay)
            for averaged, current in pairs:
                if not averaged.is_floating_point():
                    averaged.copy_(averaged * self._decay + current * (1 - self._decay))
        self.n_averaged += 1


def _values(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def average(network: nn.Module, job: Job) -> Average | None:
    """The exponential moving average of the weights, if `ema` is set; buffers are averaged too."""
    return None if job.ema is None else Average(network, job.ema)
