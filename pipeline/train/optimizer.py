"""The optimiser of a phase, its learning rate as a function of the step, and the moving average of the weights.

The rate is computed from the step, so a resumed run needs no schedule state.
Cosine: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983. Linear warm-up: Goyal et al. 2017,
https://arxiv.org/abs/1706.02677. Poly: Liu et al. 2015, https://arxiv.org/abs/1506.04579.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.params import Job


def build(
    parameters: Iterable[nn.Parameter], job: Job, scales: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW; parameters with the same scale (default 1) are one group, with the key `scale`."""
    by_scale: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_scale.setdefault((scales or {}).get(parameter, 1.0), []).append(parameter)
    groups = [{"params": by_scale[scale], "scale": scale} for scale in sorted(by_scale, reverse=True)]
    if job.optimizer == "sgd":
        return torch.optim.SGD(
            groups, job.lr, momentum=job.momentum, nesterov=job.nesterov, weight_decay=job.weight_decay
        )
    return torch.optim.AdamW(groups, job.lr, betas=(job.momentum, 0.999), weight_decay=job.weight_decay)


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


def average(network: nn.Module, job: Job) -> AveragedModel | None:
    """The exponential moving average of the weights, if `ema` is set; buffers are averaged too."""
    if job.ema is None:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(job.ema), use_buffers=True)
