"""Convolutions alone: every layer keeps the image's size, so resolution is kept and the receptive field is small.

The simplest segmentation network, for comparison: it has no pooling and no upsampling. Long, Shelhamer, Darrell: Fully
Convolutional Networks for Semantic Segmentation, CVPR 2015, https://arxiv.org/abs/1411.4038, motivate these by its
cost. No paper publishes it; PAPER has our settings.

Promise: `depth` 3×3 convolutions of stride 1 and a 1×1 to the classes; without `dilations` the receptive field is
2·depth + 1 pixels high and wide. Every feature map has the size of the image.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from pipeline.errors import UserError
from pipeline.models.parts.layers import he_normal
from pipeline.models.parts.spec import Spec

TASKS = ("segmentation",)
PAPER = {"input": [3, 64, 64], "classes": 11, "options": {}, "parameters": 47_691}
LEVELS = ()


def build(
    spec: Spec, *, width: int = 32, depth: int = 6, norm: bool = True, dilations: Sequence[int] | None = None
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    width: channels per layer · depth: number of layers · norm: batch normalisation of each · dilations: one per layer;
    all 1 by default.
    """
    rates = tuple(dilations or [1] * depth)
    if len(rates) != depth or min(rates, default=0) < 1 or width < 1:
        raise UserError(
            f"options: width {width}, depth {depth}, dilations {list(rates)}: use whole numbers of at least 1, and one "
            "dilation per layer"
        )
    layers: list[nn.Module] = []
    for (inputs, outputs), dilation in zip(pairwise([spec.channels, *[width] * depth]), rates, strict=True):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=not norm))
        layers += [nn.BatchNorm2d(outputs)] * norm + [nn.ReLU(inplace=True)]
    return he_normal(nn.Sequential(*layers, nn.Conv2d(width, spec.classes, 1)))
