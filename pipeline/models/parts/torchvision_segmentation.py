"""torchvision's segmenters for the architecture `torchvision`.

https://docs.pytorch.org/vision/stable/models.html#semantic-segmentation. FCN (Long 2015,
https://arxiv.org/abs/1411.4038) and DeepLabv3 (Chen 2017, https://arxiv.org/abs/1706.05587) on dilated ResNets, and
LR-ASPP (Howard 2019, https://arxiv.org/abs/1905.02244) on MobileNetV3.

Promise: names and shapes of weights are torchvision's. The auxiliary head of its published FCNs and DeepLabs is left
out; only their training uses it.
"""

from typing import Any

from torch import Tensor, nn
from torchvision import models

from pipeline.models.parts.layers import read_channels
from pipeline.models.parts.spec import Spec


def names() -> list[str]:
    """Names of torchvision's segmentation networks."""
    return models.list_models(module=models.segmentation)


def build(spec: Spec, name: str) -> nn.Module:
    """Images B×C×H×W → logits B×classes×H×W."""
    network: nn.Module = models.get_model(name, weights=None, weights_backbone=None, num_classes=spec.classes)
    read_channels(network, spec.channels)
    network.register_forward_hook(_logits)
    return network


def _logits(_network: nn.Module, _images: Any, outputs: dict[str, Tensor]) -> Tensor:
    """The logits from torchvision's dict, which has room for an auxiliary head's logits."""
    return outputs["out"]
