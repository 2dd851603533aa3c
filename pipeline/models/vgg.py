"""VGG: small kernels, many layers.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
https://arxiv.org/abs/1409.1556. Published: 25.6 % top-1 and 8.1 % top-5 error on ILSVRC-2012's val (configuration D,
one scale); 28.5 % and 9.9 % with one crop.

Promise: 132,863,336 / 133,047,848 / 133,638,952 / 138,357,544 / 143,667,240 parameters in configuration A / B / C / D /
E for 1000 classes, 138,365,992 in D with batch normalisation. Every convolution is a padded 3×3 (in C the last of the
coarser groups a 1×1), every pooling halves. In A, B, D and E torchvision's weights load by name, and outputs agree.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count

from torch import nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import dense_head, glorot_uniform, he_normal, local_response_norm
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [3, 224, 224], "classes": 1000, "options": {"config": "D"}, "parameters": 138_357_544}
SMALL = {"size": 32, "options": {"config": "A", "width": 8, "head_width": 32, "dropout": 0}}
LEVELS = (
    "features.pool1",
    "features.pool2",
    "features.pool3",
    "features.pool4",
    "features.conv5",
    "features.pool5",
)
HEAD = "classifier.6"

#: table 1: the kernels of each of the five groups of convolutions
CONFIGS: dict[str, tuple[tuple[int, ...], ...]] = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}
#: channels of each group relative to the first
FACTORS = (1, 2, 4, 8, 8)
INITS = {"he": he_normal, "glorot": glorot_uniform}
#: side of the last feature map at the published input, and its stride in pixels
GRID, STRIDE = 7, 32


def build(
    spec: Spec,
    *,
    config: str = "D",
    width: int = 64,
    head_width: int = 4096,
    norm: str = "none",
    dropout: float = 0.5,
    init: str = "he",
    kernels: Sequence[Sequence[int]] | None = None,
) -> nn.Module:
    """Images B×C×S×S, S at least 32 → logits B×classes.

    config: A, A-LRN (response normalisation after the first convolution), B, C, D or E · width: channels of the first
    group · head_width: units of a hidden layer · norm: `batch` normalises every convolution · init: `he`, or `glorot`,
    which according to the paper makes pretraining of shallower networks unnecessary (section 3.1) · kernels: of each of
    the five groups, instead of the configuration's.
    """
    for option, value, choices in (
        ("config", config, CONFIGS),
        ("norm", norm, ("none", "batch")),
        ("init", init, INITS),
    ):
        if value not in choices:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, choices)}")
    if kernels is not None and len(kernels) != len(FACTORS):
        raise UserError(f"options.kernels: {len(kernels)} lists; give five lists of kernel sizes, one per group")
    if spec.size < STRIDE:
        raise UserError(f"size: {spec.size} is too small for vgg; use at least {STRIDE}")
    side = min(spec.size // STRIDE, GRID)
    network = nn.Sequential(
        OrderedDict(
            features=convolutions(
                spec.channels, kernels or CONFIGS[config], width, norm=norm == "batch", lrn=config == "A-LRN"
            ),
            avgpool=nn.AdaptiveAvgPool2d(side),
            flatten=nn.Flatten(),
            classifier=dense_head(
                width * FACTORS[-1] * side**2, head_width, spec.classes, dropout, names=("0", "3", "6")
            ),
        )
    )
    return INITS[init](network)


def convolutions(
    inputs: int, groups: Sequence[Sequence[int]], width: int, *, norm: bool, lrn: bool = False
) -> nn.Sequential:
    """Groups of convolutions with a pooling after each: images → feature maps of side S/2^groups, S/32 for five.

    groups: the kernels of each. Layers with weights are named by their numbers in torchvision.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    number = count()
    for group, (kernels, factor) in enumerate(zip(groups, FACTORS, strict=False), start=1):
        outputs = width * factor
        for index, kernel in enumerate(kernels, start=1):
            layers[str(next(number))] = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
            if norm:
                layers[str(next(number))] = nn.BatchNorm2d(outputs)
            name = f"conv{group}" if index == len(kernels) else f"relu{group}_{index}"
            layers[name] = nn.ReLU(inplace=True)
            next(number)
            inputs = outputs
        if lrn and group == 1:
            layers["norm1"] = local_response_norm()
        layers[f"pool{group}"] = nn.MaxPool2d(2)
        next(number)
    return nn.Sequential(layers)
