"""DenseNet: every layer of a block reads the outputs of all layers before it.

Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017,
https://arxiv.org/abs/1608.06993. Published: 25.0 / 23.6 / 22.5 % top-1 error on ImageNet (121 / 169 / 201, one crop),
and 4.51 % on CIFAR-10 (BC, depth 100, growth 12, with shifts and flips).

Promise: 7,978,856 / 14,149,480 / 20,013,928 / 28,681,000 parameters at depth 121 / 169 / 201 / 161 for 1000 classes,
and 769,162 in the CIFAR net of depth 100 for 10; without bottleneck and compression 1,019,722 at depth 40. A layer is
normalisation, rectifier, convolution, in this order. In the ImageNet nets torchvision's weights load by name, and
outputs agree.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import he_normal
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [3, 224, 224], "classes": 1000, "options": {"depth": 121}, "parameters": 7_978_856}
SMALL = {"size": 32, "options": {"depth": 22, "growth": 6}}
LEVELS = ("features.transition1.relu", "features.transition2.relu", "features.transition3.relu", "features.relu5")
HEAD = "classifier"

#: layers of each block by depth: table 1; other depths are CIFAR nets of three equal blocks
BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32), 161: (6, 12, 36, 24)}
GROWTHS = {121: 32, 169: 32, 201: 32, 161: 48}
CIFAR_GROWTH = 12
STEMS = ("imagenet", "cifar")
#: channels of a bottleneck per channel that a layer adds
BOTTLENECK = 4


def build(
    spec: Spec,
    *,
    depth: int = 121,
    growth: int | None = None,
    stem: str | None = None,
    bottleneck: bool = True,
    compression: float = 0.5,
    dropout: float = 0.0,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes.

    growth: channels that a layer adds; 32, at depth 161 48, in the CIFAR nets 12 · stem: `imagenet`, a 7×7 convolution
    and a pooling of stride 2 each, or `cifar`, a 3×3 of stride 1; by default the paper's at this depth · bottleneck: a
    1×1 convolution before each 3×3 · compression: fraction of the channels that a transition keeps · dropout: after
    each convolution of a block; the paper uses 0.2 without augmentation.
    """
    counts = BLOCKS.get(depth) or _equal_blocks(depth, bottleneck)
    growth = growth or GROWTHS.get(depth, CIFAR_GROWTH)
    stem = stem or ("imagenet" if depth in BLOCKS else "cifar")
    if stem not in STEMS:
        raise UserError(f"options.stem: {plugins.unknown('stem', stem, STEMS)}")
    if not 0 < compression <= 1:
        raise UserError(
            f"options.compression: {compression} is no fraction of the channels; use more than 0, at most 1"
        )
    channels = 2 * growth if bottleneck else 16
    layers = _stem(spec.channels, channels, stem)
    for number, count in enumerate(counts, start=1):
        block: OrderedDict[str, nn.Module] = OrderedDict()
        for index in range(1, count + 1):
            block[f"denselayer{index}"] = DenseLayer(channels, growth, bottleneck, dropout)
            channels += growth
        layers[f"denseblock{number}"] = nn.Sequential(block)
        if number < len(counts):
            outputs = int(channels * compression)
            layers[f"transition{number}"] = _transition(channels, outputs)
            channels = outputs
    if len(counts) == 3:  # the CIFAR nets have no third transition
        layers["transition3"] = nn.Sequential(OrderedDict(relu=nn.Identity()))
    layers |= {"norm5": nn.BatchNorm2d(channels), "relu5": nn.ReLU(inplace=True)}
    return he_normal(
        nn.Sequential(
            OrderedDict(
                features=nn.Sequential(layers),
                avgpool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=nn.Linear(channels, spec.classes),
            )
        )
    )


def _equal_blocks(depth: int, bottleneck: bool) -> tuple[int, ...]:
    """Layers of each of three equal blocks; stem, transitions and output are the other four layers."""
    step = 6 if bottleneck else 3
    if depth < step + 4 or (depth - 4) % step:
        imagenet = ", ".join(map(str, BLOCKS))
        raise UserError(
            f"options.depth: {depth} is neither {imagenet} nor 4 more than a multiple of {step}. "
            "Choose one of these, or a CIFAR net's 40 or 100."
        )
    return ((depth - 4) // step,) * 3


def _stem(inputs: int, outputs: int, stem: str) -> OrderedDict[str, nn.Module]:
    """The layers before the first block: images B×C×S×S → feature maps of side S/4 or S."""
    if stem == "cifar":
        return OrderedDict(conv0=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
    return OrderedDict(
        conv0=nn.Conv2d(inputs, outputs, 7, 2, 3, bias=False),
        norm0=nn.BatchNorm2d(outputs),
        relu0=nn.ReLU(inplace=True),
        pool0=nn.MaxPool2d(3, 2, 1),
    )


def _transition(channels: int, outputs: int) -> nn.Sequential:
    """Fewer channels at half the height and width."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(channels, outputs, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseLayer(nn.Sequential):
    """Appends `growth` channels to its input; normalisation and rectifier come before each convolution."""

    def __init__(self, channels: int, growth: int, bottleneck: bool, dropout: float) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        inner = BOTTLENECK * growth
        shapes = [(channels, inner, 1), (inner, growth, 3)] if bottleneck else [(channels, growth, 3)]
        for number, (inputs, outputs, kernel) in enumerate(shapes, start=1):
            layers[f"norm{number}"] = nn.BatchNorm2d(inputs)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
            layers[f"drop{number}"] = nn.Dropout(dropout)
        super().__init__(layers)

    def forward(self, features: Tensor) -> Tensor:
        """B×C×H×W → B×(C + growth)×H×W."""
        return torch.cat([features, super().forward(features)], 1)
