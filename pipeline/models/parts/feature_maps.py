"""The one way into a network: the maps at the stages that its file names, and what its head reads.

Backbones, heatmaps, FID features, freezing and layer-wise rates use this; nothing else reaches into a network.
Only what the stages need is computed, so a head that wants one image size is no obstacle.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

#: how much wider the second image of stage_shapes is; strides that divide it are measured exactly
WIDER_PX = 64


class _AllSeen(Exception):  # noqa: N818 (not an error, but the way out of a forward pass)
    """Every stage has given its map."""


def features(net: nn.Module, images: Tensor, stages: Sequence[str]) -> dict[str, Tensor]:
    """Images B×C×H×W → the output of each submodule in `stages`, B×C'×H'×W', in that order."""
    seen: dict[str, Tensor] = {}

    def keep(stage: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen[stage] = output
        if len(seen) == len(stages):
            raise _AllSeen

    with ExitStack() as hooks, suppress(_AllSeen):
        for stage in stages:
            hooks.callback(net.get_submodule(stage).register_forward_hook(partial(keep, stage)).remove)
        net(images)
    return {stage: seen[stage] for stage in stages}


def shadow(net: nn.Module) -> nn.Module:
    """A copy on the meta device, in evaluation mode, on which shapes are found without memory or arithmetic."""
    return deepcopy(net, {id(value): value.to("meta") for value in chain(net.parameters(), net.buffers())}).eval()


@contextmanager
def inputs(net: nn.Module, name: str, *, step: int = 1) -> Iterator[list[Tensor]]:
    """While the block runs, what the submodule is given, call by call: every `step`-th row, B'×D.

    Maps are averaged over their positions.
    """
    seen: list[Tensor] = []

    def keep(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        rows = given[0][::step]
        seen.append(rows.flatten(2).mean(2) if rows.ndim > 2 else rows)

    hook = net.get_submodule(name).register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


@contextmanager
def outputs(net: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """While the block runs, what the submodule gives, call by call."""
    seen: list[Tensor] = []
    hook = net.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
    try:
        yield seen
    finally:
        hook.remove()


@torch.no_grad()
def stage_shapes(net: nn.Module, stages: Sequence[str], channels: int, size: int) -> dict[str, tuple[int, int]]:
    """Each stage's channels and stride in pixels for images channels×size×size, without computing anything.

    The stride is how far the image must widen for the map to widen by one, whatever the padding.
    """
    probe, sides = shadow(net), (size, size + WIDER_PX)
    small, wide = (features(probe, torch.empty(2, channels, side, side, device="meta"), stages) for side in sides)
    return {name: (small[name].shape[1], WIDER_PX // (wide[name].shape[2] - small[name].shape[2])) for name in stages}
