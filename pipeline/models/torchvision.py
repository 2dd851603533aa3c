"""torchvision's convolutional networks by torchvision's names, for comparison and as backbones with weights.

https://docs.pytorch.org/vision/stable/models.html; each network's page names its paper. PAPER's example is ConvNeXt:
Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s, CVPR 2022, https://arxiv.org/abs/2201.03545.

Promise: names and shapes of weights are torchvision's, so that `pretrained: {weights: …}` loads all but a head of
other classes. A classifier's levels and head are determined by running it, so this file has no LEVELS. Detectors and
segmenters are in `parts/torchvision_detection` and `parts/torchvision_segmentation`.
"""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

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
#: by task, as no network serves two tasks
SMALL = {
    "classification": {"size": 64, "options": {"name": "shufflenet_v2_x0_5"}},
    "segmentation": {"size": 64, "options": {"name": "lraspp_mobilenet_v3_large"}},
    "detection": {"size": 64, "options": {"name": "ssdlite320_mobilenet_v3_large"}},
}

#: the default network by task
DEFAULTS = {
    "classification": "convnext_tiny",
    "segmentation": "fcn_resnet50",
    "detection": "fasterrcnn_resnet50_fpn",
    "instance_segmentation": "maskrcnn_resnet50_fpn",
}

#: families of transformers, which are left out
TRANSFORMERS = ("vit_", "swin_", "maxvit_")
#: options of GoogLeNet and Inception: no auxiliary heads, and initial weights without a warning
GOOGLENET_OPTIONS = {"aux_logits": False, "init_weights": True}
#: side of the image with which levels are determined, which every network halves evenly; stride of the finest level
SIDE_PX, FINEST_PX = 320, 4


def build(
    spec: Spec, *, name: str | None = None, frozen_norm: bool = False, detections: int | None = None
) -> nn.Module:
    """torchvision's network `name`: images B×C×S×S → the outputs that the task's learner expects.

    name: by default convnext_tiny, fcn_resnet50, fasterrcnn_resnet50_fpn or maskrcnn_resnet50_fpn, by task ·
    frozen_norm: keep the loaded batch normalisation fixed, for pretrained weights and small batches · detections:
    maximum per image; by default torchvision's number.
    """
    name = name or DEFAULTS[spec.task]
    choices = _names(spec.task)
    if name not in choices:
        raise UserError(f"options.name: {plugins.unknown('network', name, choices)}")
    if detections is not None and spec.task not in ("detection", "instance_segmentation"):
        raise UserError(f"options.detections: {name} is not a detector; leave the option out")
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
    """One pass for counting; a detector's has no non-maximum suppression."""
    return torchvision_detection.trace(network, images) if hasattr(network, "transform") else network(images)


def _names(task: str) -> list[str]:
    """Names of torchvision's networks for a task."""
    if task == "classification":
        return [other for other in models.list_models(module=models) if not other.startswith(TRANSFORMERS)]
    if task == "segmentation":
        return torchvision_segmentation.names()
    return torchvision_detection.names(masks=task == "instance_segmentation")


def _classifier(spec: Spec, name: str) -> nn.Module:
    levels_and_head = _anatomy(name, spec.size)
    network = _network(name, spec.classes, spec.channels)
    network.__dict__["anatomy"] = levels_and_head
    return network


def _network(name: str, classes: int, channels: int) -> nn.Module:
    """torchvision's classifier for images of `channels`."""
    options: dict[str, Any] = GOOGLENET_OPTIONS if name in ("googlenet", "inception_v3") else {}
    if options and channels == 3:
        options = {**options, "transform_input": True}  # their weights expect -1..1: convert from the usual scale
    # a RegNet computes its widths with tensors, which fails on the meta device
    device = torch.get_default_device()
    with torch.device("cpu" if name.startswith("regnet_") else device):
        network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options).to(device)
    read_channels(network, channels)
    return network


@functools.cache
def _anatomy(name: str, size: int) -> Anatomy:
    """Levels and head, determined on the meta device; UserError if images of this size are too small."""
    with torch.device("meta"):
        network = _network(name, classes=2, channels=3).eval()
        try:
            network(torch.empty(1, 3, size, size))
        except RuntimeError as error:
            raise UserError(f"size: {size} is too small for {name} ({error}); use a larger size") from error
        outputs: dict[str, list[Tensor]] = {path: [] for path, _ in network.named_modules()}
        for path, module in network.named_modules():
            module.register_forward_hook(lambda _module, _inputs, output, own=outputs[path]: own.append(output))
        for side in (SIDE_PX, SIDE_PX + WIDER_PX):
            network(torch.empty(1, 3, side, side))
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
