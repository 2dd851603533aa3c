"""Convolutions alone: every layer keeps the image's size, so nothing is lost and little is seen.

The network that one would write first for a label a pixel; Long, Shelhamer, Darrell: Fully Convolutional Networks for
Semantic Segmentation, CVPR 2015, https://arxiv.org/abs/1411.4038, argue from its cost to pooling and upsampling.
No paper publishes it; PAPER has our settings.

Promise: `depth` 3×3 convolutions of stride 1 and a 1×1 to the classes; without `dilations` a pixel sees 2·depth + 1
pixels each way. The memory of every map is that of the whole image.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from pipeline.errors import UserError
from pipeline.models.parts.layers import he_normal
from pipeline.models.parts.spec import Spec

TASKS = ("segmentation",)
PAPER = {"input": [3, 64, 64], "classes": 11, "options": {}, "parameters": 47_691}
STAGES = ()


def build(
    spec: Spec, *, width: int = 32, depth: int = 6, norm: bool = True, dilations: Sequence[int] | None = None
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    width: maps of a layer · depth: layers · norm: batch normalisation of each · dilations: pixels between what a
    layer's window reads, one a layer; all 1 if left out.
    """
    apart = tuple(dilations or [1] * depth)
    if len(apart) != depth or min(apart, default=0) < 1 or width < 1:
        raise UserError(f"options: conv_only of width {width} and depth {depth} has no dilations {list(apart)}")
    layers: list[nn.Module] = []
    for (inputs, outputs), dilation in zip(pairwise([spec.channels, *[width] * depth]), apart, strict=True):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=not norm))
        layers += [nn.BatchNorm2d(outputs)] * norm + [nn.ReLU(inplace=True)]
    return he_normal(nn.Sequential(*layers, nn.Conv2d(width, spec.classes, 1)))
