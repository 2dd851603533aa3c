"""torchvision's detectors, for the architecture `torchvision`: its networks under our batches and our classes.

https://docs.pytorch.org/vision/stable/models.html#object-detection. Faster R-CNN (Ren 2015,
https://arxiv.org/abs/1506.01497), Mask R-CNN (He 2017, https://arxiv.org/abs/1703.06870), RetinaNet (Lin 2017,
https://arxiv.org/abs/1708.02002), FCOS (Tian 2019, https://arxiv.org/abs/1904.01355), SSD (Liu 2016,
https://arxiv.org/abs/1512.02325) and SSDlite (Sandler 2018, https://arxiv.org/abs/1801.04381).

Promise: parameters, names and shapes of weights are torchvision's for as many classes and one more, as theirs count
background as class 0. Images are taken as they come: torchvision would scale them to 800 pixels, or to 300 and 320.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG

from pipeline.errors import UserError
from pipeline.models.parts import rcnn
from pipeline.models.parts.layers import read_channels
from pipeline.models.parts.spec import Spec

#: channels of VGG's conv4_3, each with a scale in SSD
SCALED = 512


def names(*, masks: bool) -> list[str]:
    """The networks that give outlines, or those that give boxes alone; key points are not offered."""
    known = models.list_models(module=models.detection)
    return [name for name in known if not name.startswith("keypoint") and name.startswith("maskrcnn_") == masks]


def build(spec: Spec, name: str, detections: int | None) -> nn.Module:
    """Images B×C×S×S → a dict an image with boxes, labels and scores, and masks; with targets: losses by name.

    detections: the most that an image gets; torchvision's own number where it is None.
    """
    _check_size(name, spec.size)
    network = _network(name, spec.classes, spec.channels)
    if detections is not None:
        getattr(network, "roi_heads", network).detections_per_img = detections
    return network


class Things(rcnn.Ready):
    """Stands where torchvision scales images. RetinaNet and FCOS give background a score too, and may answer it."""

    def postprocess(self, found: list[dict[str, Tensor]], sizes: Any, original: Any) -> list[dict[str, Tensor]]:
        """Labels from 0, without background."""
        things = [{name: value[item["labels"] > 0] for name, value in item.items()} for item in found]
        return super().postprocess(things, sizes, original)


def _network(name: str, classes: int, channels: int) -> Any:
    network: Any = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes + 1)
    read_channels(network, channels)
    network.transform = Things()
    if isinstance(network.backbone, SSDFeatureExtractorVGG):
        network.backbone.parameter_formula = functools.partial(int, SCALED)
    return network


@functools.cache
def _check_size(name: str, size: int) -> None:
    """UserError where images of this size are too small for the network, found by running it over shapes."""
    with torch.device("meta"), torch.no_grad():
        network = _network(name, classes=1, channels=3).eval()
        try:
            trace(network, torch.empty(1, 3, size, size))
        except RuntimeError as error:
            raise UserError(f"size: {size} is too small for {name} ({error}). Take a larger one.") from error


def trace(network: Any, images: Tensor) -> Any:
    """What the network computes for an image, with the most proposals and detections where it has such."""
    if not hasattr(network, "roi_heads"):
        return network.head(list(network.backbone(images).values()))
    return (rcnn.trace_instances if network.roi_heads.has_mask() else rcnn.trace)(network, images)
