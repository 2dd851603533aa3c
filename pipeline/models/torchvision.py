"""torchvision's convolutional networks by their names there, for comparison, and as backbones with weights.

https://docs.pytorch.org/vision/stable/models.html; each network's page names its paper. PAPER's example is ConvNeXt:
Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s, CVPR 2022, https://arxiv.org/abs/2201.03545.

Promise: names and shapes of weights are torchvision's, so that `pretrained: {weights: …}` loads all but a head of
other classes. Where a classifier's stages end and which layer is its head is found by running it, so this file has no
STAGES. What detectors and segmenters add is in `_torchvision_detection` and `_torchvision_segmentation`.
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
from pipeline.models.parts import torchvision_detection, torchvision_segmentation
from pipeline.models.parts.feature_maps import WIDER_PX
from pipeline.models.parts.layers import read_channels
from pipeline.models.parts.rcnn import freeze_norm
from pipeline.models.parts.spec import Anatomy, Spec

TASKS = ("classification", "segmentation", "detection", "instance_segmentation")
PAPER = {
    "input": [3, 224, 224],
    "classes": 1000,
    "options": {},
    "parameters": 28_589_128,
}
#: by task, as none of the networks serves two
SMALL = {
    "classification": {"size": 64, "options": {"name": "shufflenet_v2_x0_5"}},
    "segmentation": {"size": 64, "options": {"name": "lraspp_mobilenet_v3_large"}},
    "detection": {"size": 64, "options": {"name": "ssdlite320_mobilenet_v3_large"}},
}

#: the network of a task where none is named
USUAL = {
    "classification": "convnext_tiny",
    "segmentation": "fcn_resnet50",
    "detection": "fasterrcnn_resnet50_fpn",
    "instance_segmentation": "maskrcnn_resnet50_fpn",
}

#: families that attend instead of convolving
TRANSFORMERS = ("vit_", "swin_", "maxvit_")
#: options of builders: no heads beside the last, and initial weights that are drawn without a warning
GOOGLES = {"aux_logits": False, "init_weights": True}
#: a side that every network halves evenly, for finding its stages; and the stride of the finest, as is usual
SIDE_PX, FINEST_PX = 320, 4


def build(
    spec: Spec, *, name: str | None = None, frozen_norm: bool = False, detections: int | None = None
) -> nn.Module:
    """Images B×C×S×S → what the task's learner expects of a network, by the one that torchvision calls `name`.

    name: if left out, convnext_tiny, fcn_resnet50, fasterrcnn_resnet50_fpn or maskrcnn_resnet50_fpn, by task ·
    frozen_norm: batch normalisation stays as it was loaded, which pretrained weights need where batches are small ·
    detections: the most that an image gets; torchvision's own number if left out.
    """
    name = name or USUAL[spec.task]
    known = _names(spec.task)
    if name not in known:
        raise UserError(f"options.name: {plugins.unknown('network', name, known)}")
    if detections is not None and spec.task not in ("detection", "instance_segmentation"):
        raise UserError(f"options.detections: {name} detects nothing. Leave it out.")
    if spec.task == "classification":
        network = _classifier(spec, name)
    elif spec.task == "segmentation":
        network = torchvision_segmentation.build(spec, name)
    else:
        network = torchvision_detection.build(spec, name, detections)
    if frozen_norm:
        freeze_norm(network)
    return network


def trace(network: nn.Module, images: Tensor) -> Any:
    """What the network computes for an image; of a detector without the choice among boxes."""
    return torchvision_detection.trace(network, images) if hasattr(network, "transform") else network(images)


def _names(task: str) -> list[str]:
    """What torchvision has for a task."""
    if task == "classification":
        return [other for other in models.list_models(module=models) if not other.startswith(TRANSFORMERS)]
    if task == "segmentation":
        return torchvision_segmentation.names()
    return torchvision_detection.names(masks=task == "instance_segmentation")


def _classifier(spec: Spec, name: str) -> nn.Module:
    found = _anatomy(name, spec.size)
    network = _network(name, spec.classes, spec.channels)
    network.__dict__["anatomy"] = found
    return network


def _network(name: str, classes: int, channels: int) -> nn.Module:
    """torchvision's classifier; its first convolution reads `channels`."""
    own: dict[str, Any] = GOOGLES if name in ("googlenet", "inception_v3") else {}
    if own and channels == 3:
        own = {**own, "transform_input": True}  # their weights expect -1..1, and this makes it of the usual numbers
    # a RegNet computes its widths with tensors, which must be real ones
    place = torch.get_default_device()
    with torch.device("cpu" if name.startswith("regnet_") else place):
        network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **own).to(place)
    read_channels(network, channels)
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
