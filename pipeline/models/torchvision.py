"""Any convolutional classifier of torchvision, by its name there, for comparison and as a backbone with weights.

https://docs.pytorch.org/vision/stable/models.html; each network's page names its paper. PAPER's example is ConvNeXt:
Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s, CVPR 2022, https://arxiv.org/abs/2201.03545.

Promise: names and shapes of weights are torchvision's, so that `pretrained: {weights: …}` loads all but a head of
other classes. Where its stages end and which layer is its head is found by running it, so its file has no STAGES.
"""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.convnext import CNBlock

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models._features import WIDER_PX
from pipeline.models._spec import Anatomy, Spec

TASKS = ("classification",)
PAPER = {
    "input": [3, 224, 224],
    "classes": 1000,
    "options": {"name": "convnext_tiny"},
    "parameters": 28_589_128,
}
SMALL = {"size": 64, "options": {"name": "shufflenet_v2_x0_5"}}

#: families that attend instead of convolving
TRANSFORMERS = ("vit_", "swin_", "maxvit_")
#: options of builders: no heads beside the last, and initial weights that are drawn without a warning
GOOGLES = {"aux_logits": False, "init_weights": True}
#: a side that every network halves evenly, for finding its stages; and the stride of the finest, as is usual
SIDE_PX, FINEST_PX = 320, 4


def build(spec: Spec, *, name: str = "convnext_tiny") -> nn.Module:
    """Images B×C×S×S → logits B×classes of the network that torchvision calls `name`."""
    known = [other for other in models.list_models(module=models) if not other.startswith(TRANSFORMERS)]
    if name not in known:
        raise UserError(f"options.name: {plugins.unknown('network', name, known)}")
    found = _anatomy(name, spec.size)
    network = _network(name, spec.classes, spec.channels)
    network.__dict__["anatomy"] = found
    return network


def _network(name: str, classes: int, channels: int) -> nn.Module:
    """torchvision's network; its first convolution reads `channels`."""
    own: dict[str, Any] = GOOGLES if name in ("googlenet", "inception_v3") else {}
    if own and channels == 3:
        own = {**own, "transform_input": True}  # their weights expect -1..1, and this makes it of the usual numbers
    # a RegNet computes its widths with tensors, which must be real ones
    place = torch.get_default_device()
    with torch.device("cpu" if name.startswith("regnet_") else place):
        network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **own).to(place)
    if channels != 3:
        layer, first = next((layer, item) for layer, item in network.named_modules() if isinstance(item, nn.Conv2d))
        shape: Any = {key: getattr(first, key) for key in ("kernel_size", "stride", "padding")}
        network.set_submodule(layer, nn.Conv2d(channels, first.out_channels, **shape, bias=first.bias is not None))
    for block in network.modules():
        if isinstance(block, CNBlock):  # a factor for each channel
            block.parameter_formula = functools.partial(int, block.block[0].out_channels)
    return network


@functools.cache
def _anatomy(name: str, size: int) -> Anatomy:
    """Found by running the network over shapes; UserError where images of this size are too small for it."""
    with torch.device("meta"):
        network = _network(name, classes=2, channels=3).eval()
        try:
            network(torch.empty(1, 3, size, size))
        except RuntimeError as error:
            raise UserError(f"size: {size} is too small for {name} ({error}). Take a larger one.") from error
        maps: dict[str, list[Tensor]] = {place: [] for place, _ in network.named_modules()}
        for place, module in network.named_modules():
            module.register_forward_hook(lambda _module, _inputs, output, seen=maps[place]: seen.append(output))
        for side in (SIDE_PX, SIDE_PX + WIDER_PX):
            network(torch.empty(1, 3, side, side))
    strides = {place: stride for place, outputs in maps.items() if (stride := _stride(outputs))}
    last = {strides[place]: place for place in _parts(network, strides)}
    head = [
        place for place, module in network.named_modules() if maps[place] and isinstance(module, nn.Linear | nn.Conv2d)
    ]
    return Anatomy(tuple(last[stride] for stride in sorted(last) if stride >= FINEST_PX), head[-1])


def _stride(outputs: list[Tensor]) -> int | None:
    """Image pixels from one pixel of a map to the next, by the maps of two images; None for what is no such map."""
    if not outputs or outputs[0].ndim != 4:
        return None
    more = outputs[1].shape[2] - outputs[0].shape[2]
    return WIDER_PX // more if more else None


def _parts(module: nn.Module, strides: dict[str, int], place: str = "", before: int = 1) -> Iterator[str]:
    """The largest submodules that make a map at most twice as coarse, in the order in which they run."""
    for name, part in module.named_children():
        inner = f"{place}{name}"
        stride = strides.get(inner)
        if stride is None:
            continue
        if stride > 2 * before and any(True for _ in part.children()):
            yield from _parts(part, strides, f"{inner}.", before)
        else:
            yield inner
        before = stride
