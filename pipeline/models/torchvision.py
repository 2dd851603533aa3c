"""torchvision's convolutional networks by torchvision's names, for comparison and as backbones with weights.

https://docs.pytorch.org/vision/stable/models.html; each network's page names its paper. PAPER's example is ConvNeXt:
Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s, CVPR 2022, https://arxiv.org/abs/2201.03545.

Promise: names and shapes of weights are torchvision's, so that `pretrained: {weights: …}` loads all but a head of
other classes. A classifier's levels and head are determined by running it, so this file has no LEVELS. Detectors and
segmenters are in `parts/torchvision_detection` and `parts/torchvision_segmentation`.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts import run_anatomy, torchvision_detection, torchvision_segmentation
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
    return run_anatomy.determine(lambda: _network(name, classes=2, channels=3), name, size)
