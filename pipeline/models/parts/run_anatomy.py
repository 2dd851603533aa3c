"""Levels and head of a network of another library, determined by running it on the meta device."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import WIDER_PX
from pipeline.models.parts.spec import Anatomy

#: side of the image with which levels are determined, which every network halves evenly; stride of the finest level
SIDE_PX, FINEST_PX = 320, 4


def determine(make: Callable[[], nn.Module], name: str, size: int, side: int = SIDE_PX) -> Anatomy:
    """Levels and head of a classifier; UserError if images of `size` are too small for it.

    Args:
        make: a network for images of three channels, and any number of classes.
        name: of the network.
        size: side of the images that it is to classify, in pixels.
        side: of the images with which levels are determined.
    """
    with torch.device("meta"):
        network = make().eval()
        try:
            network(torch.empty(1, 3, size, size))
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"size: {size} is too small for {name} ({error}); use a larger size") from error
        outputs: dict[str, list[Tensor]] = {path: [] for path, _ in network.named_modules()}
        for path, module in network.named_modules():
            module.register_forward_hook(lambda _module, _inputs, output, own=outputs[path]: own.append(output))
        for wide in (side, side + WIDER_PX):
            network(torch.empty(1, 3, wide, wide))
    strides = {path: stride for path, pair in outputs.items() if (stride := _stride(pair))}
    last = {strides[path]: path for path in _blocks(network, strides)}
    weighted = [
        path for path, module in network.named_modules() if outputs[path] and isinstance(module, nn.Linear | nn.Conv2d)
    ]
    return Anatomy(tuple(last[stride] for stride in sorted(last) if stride >= FINEST_PX), weighted[-1])


def _stride(outputs: list[Tensor]) -> int | None:
    """Stride in pixels of a feature map, from its outputs for two image sizes; None if it is no feature map."""
    if not outputs or outputs[0].ndim != 4:
        return None
    growth = outputs[1].shape[2] - outputs[0].shape[2]
    return WIDER_PX // growth if growth else None


def _blocks(module: nn.Module, strides: dict[str, int], prefix: str = "", before: int = 1) -> Iterator[str]:
    """Names of the largest submodules that at most double the stride, in the order of execution."""
    for child_name, child in module.named_children():
        name = f"{prefix}{child_name}"
        stride = strides.get(name)
        if stride is None:
            continue
        if stride > 2 * before and any(True for _ in child.children()):
            yield from _blocks(child, strides, f"{name}.", before)
        else:
            yield name
        before = stride
