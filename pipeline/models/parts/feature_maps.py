"""Feature maps of a network's levels, and the inputs and outputs of any submodule.

Backbones, heatmaps, FID features, freezing and layer-wise rates use this; nothing else reaches into a network. Only
the layers up to the last level are computed, so a head that requires one image size does not matter.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

#: how much wider the second image of level_shapes is; strides that divide it are exact
WIDER_PX = 64


class _AllRecorded(Exception):  # noqa: N818 (not an error: it ends a forward pass early)
    """Every level's feature map is recorded."""


def features(net: nn.Module, images: Tensor, levels: Sequence[str]) -> dict[str, Tensor]:
    """Images B×C×H×W → the output of each submodule in `levels`, B×C'×H'×W', in that order."""
    recorded: dict[str, Tensor] = {}

    def record(level: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        recorded[level] = output
        if len(recorded) == len(levels):
            raise _AllRecorded

    with ExitStack() as hooks, suppress(_AllRecorded):
        for level in levels:
            hooks.callback(net.get_submodule(level).register_forward_hook(partial(record, level)).remove)
        net(images)
    return {level: recorded[level] for level in levels}


def meta_copy(net: nn.Module) -> nn.Module:
    """A copy on the meta device in evaluation mode; it computes shapes without memory or arithmetic."""
    return deepcopy(net, {id(value): value.to("meta") for value in chain(net.parameters(), net.buffers())}).eval()


@contextmanager
def inputs(net: nn.Module, name: str, *, step: int = 1) -> Iterator[list[Tensor]]:
    """Record the submodule's inputs while the block runs, one B'×D per call: every `step`-th row of the batch.

    Feature maps are averaged over their positions.
    """
    recorded: list[Tensor] = []

    def record(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        rows = args[0][::step]
        recorded.append(rows.flatten(2).mean(2) if rows.ndim > 2 else rows)

    hook = net.get_submodule(name).register_forward_pre_hook(record)
    try:
        yield recorded
    finally:
        hook.remove()


@contextmanager
def outputs(net: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """Record the submodule's outputs while the block runs, one per call."""
    recorded: list[Tensor] = []

    def record(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        recorded.append(output.clone())

    hook = net.get_submodule(name).register_forward_hook(record)
    try:
        yield recorded
    finally:
        hook.remove()


@torch.no_grad()
def level_shapes(net: nn.Module, levels: Sequence[str], channels: int, size: int) -> dict[str, tuple[int, int]]:
    """Channels and stride in pixels of each level for images channels×size×size, computed on the meta device.

    The stride is how many pixels the image must widen for the feature map to widen by one, whatever the padding.
    """
    probe, sides = meta_copy(net), (size, size + WIDER_PX)
    small, wide = (features(probe, torch.empty(2, channels, side, side, device="meta"), levels) for side in sides)
    return {name: (small[name].shape[1], WIDER_PX // (wide[name].shape[2] - small[name].shape[2])) for name in levels}
