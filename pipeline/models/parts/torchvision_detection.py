"""torchvision's detectors for the architecture `torchvision`, with our batches and class numbers.

https://docs.pytorch.org/vision/stable/models.html#object-detection. Faster R-CNN (Ren 2015,
https://arxiv.org/abs/1506.01497), Mask R-CNN (He 2017, https://arxiv.org/abs/1703.06870), RetinaNet (Lin 2017,
https://arxiv.org/abs/1708.02002), FCOS (Tian 2019, https://arxiv.org/abs/1904.01355), SSD (Liu 2016,
https://arxiv.org/abs/1512.02325) and SSDlite (Sandler 2018, https://arxiv.org/abs/1801.04381).

Promise: parameters, names and shapes of weights are torchvision's for one class more, as torchvision's class 0 is
background. Images keep their size: torchvision would scale them to 800 pixels, or to 300 and 320.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from pipeline.errors import UserError
from pipeline.models.parts import rcnn
from pipeline.models.parts.layers import read_channels
from pipeline.models.parts.spec import Spec

#: channels of VGG's conv4_3; SSD has a scale for each
SCALED = 512


def names(*, masks: bool) -> list[str]:
    """Names of the networks with masks, or of those with boxes alone; keypoint networks are left out."""
    every = models.list_models(module=models.detection)
    return [name for name in every if not name.startswith("keypoint") and name.startswith("maskrcnn_") == masks]


def build(spec: Spec, name: str, detections: int | None) -> nn.Module:
    """Images B×C×S×S → per image a dict of boxes, labels, scores and, if it has them, masks; with targets: losses.

    detections: maximum per image; None keeps torchvision's number.
    """
    _check_size(name, spec.size)
    network = _network(name, spec.classes, spec.channels)
    if detections is not None:
        getattr(network, "roi_heads", network).detections_per_img = detections
    return network


class DropBackground(rcnn.Ready):
    """Replaces torchvision's transform and drops detections of background, which RetinaNet and FCOS score too."""

    def postprocess(self, detections: list[dict[str, Tensor]], sizes: Any, original: Any) -> list[dict[str, Tensor]]:
        """Detections per image with labels from 0, without background."""
        objects = [{name: value[item["labels"] > 0] for name, value in item.items()} for item in detections]
        return super().postprocess(objects, sizes, original)


def _network(name: str, classes: int, channels: int) -> Any:
    network: Any = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes + 1)
    read_channels(network, channels)
    network.transform = DropBackground()
    return network


@functools.cache
def _check_size(name: str, size: int) -> None:
    """UserError if images of this size are too small for the network; it runs on the meta device to find out."""
    with torch.device("meta"), torch.no_grad():
        network = _network(name, classes=1, channels=3).eval()
        try:
            trace(network, torch.empty(1, 3, size, size))
        except RuntimeError as error:
            raise UserError(f"size: {size} is too small for {name} ({error}); use a larger size") from error


def trace(network: Any, images: Tensor) -> Any:
    """One pass for counting, with the most proposals and detections if the network has these."""
    if not hasattr(network, "roi_heads"):
        return network.head(list(network.backbone(images).values()))
    return (rcnn.trace_instances if network.roi_heads.has_mask() else rcnn.trace)(network, images)
