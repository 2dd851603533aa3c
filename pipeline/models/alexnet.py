"""AlexNet, the convolutional network that won ILSVRC 2012.

Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012,
https://papers.nips.cc/paper/4824. Published: 40.7 % top-1 and 18.2 % top-5 error on ILSVRC-2012's val (one network).

Promise: `variant: paper` has 60,965,224 parameters for 1000 classes: two towers that are connected at the third
convolution and at the hidden layers (`groups: 2`; 62,378,344 without), response normalisation after the first two
convolutions, overlapping pooling, dropout, and the paper's initial weights and biases. `variant: torchvision` is the
one-tower network of Krizhevsky 2014 (https://arxiv.org/abs/1404.5997) without normalisation, 61,100,840 parameters;
torchvision's weights load by name, and outputs agree.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import dense_head, he_normal, local_response_norm
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [3, 224, 224], "classes": 1000, "options": {"variant": "paper"}, "parameters": 60_965_224}
SMALL = {"size": 32, "options": {"width": 12, "head_width": 32, "stem": "cifar", "dropout": 0}}
LEVELS = ("features.pool1", "features.pool2", "features.conv5", "features.pool5")
HEAD = "classifier.6"

#: output channels of the five convolutions
WIDTHS = {"paper": (96, 256, 384, 384, 256), "torchvision": (64, 192, 384, 256, 256)}
#: kernel and stride of the first convolution: the paper's, and one for small images
STEMS = {"imagenet": (11, 4), "cifar": (5, 1)}
#: names of the layers with weights, as in torchvision; the convolutions GROUPED have one group per tower
CONVOLUTIONS, DENSE = ("0", "3", "6", "8", "10"), ("1", "4", "6")
GROUPED = (2, 4, 5)
NORMALIZED, POOLED = (1, 2), (1, 2, 5)
#: section 5: layers whose biases start at 1, so that their rectifiers are active at first
BIAS_ONE = ("features.3", "features.8", "features.10", "classifier.1", "classifier.4")
#: side of the last feature map at the published input
GRID = 6


def build(
    spec: Spec,
    *,
    variant: str = "paper",
    stem: str = "imagenet",
    width: int | None = None,
    head_width: int = 4096,
    groups: int | None = None,
    dropout: float = 0.5,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes.

    stem: `imagenet`, an 11×11 convolution of stride 4, or `cifar`, a 5×5 of stride 1 · width: channels of the first
    convolution, with which the others scale; 96, in torchvision's 64 · head_width: units of a hidden layer ·
    groups: number of towers; 2, in torchvision's 1.
    """
    for option, value, choices in (("variant", variant, WIDTHS), ("stem", stem, STEMS)):
        if value not in choices:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, choices)}")
    published = WIDTHS[variant]
    width, groups = width or published[0], groups or (2 if variant == "paper" else 1)
    widths = [groups * max(1, round(channels * width / published[0] / groups)) for channels in published]
    side = _side(spec.size, stem)
    network = nn.Sequential(
        OrderedDict(
            features=_features(spec.channels, widths, groups, stem, normalized=variant == "paper"),
            avgpool=nn.AdaptiveAvgPool2d(side),
            flatten=nn.Flatten(),
            classifier=dense_head(
                widths[-1] * side**2, head_width, spec.classes, dropout, DENSE, drop_inputs=variant == "torchvision"
            ),
        )
    )
    return _init_weights(network, width / published[0]) if variant == "paper" else he_normal(network)


def _side(size: int, stem: str) -> int:
    """Side in cells of the feature map that the hidden layers read; at most the paper's six."""
    kernel, stride = STEMS[stem]
    side = (size + 4 - kernel) // stride + 1
    for _ in POOLED:
        side = (side - 3) // 2 + 1
    if side < 1:
        least = 15 if stem == "cifar" else 63
        raise UserError(f"size: {size} is too small for alexnet with stem {stem}; use at least {least}")
    return min(side, GRID)


def _features(inputs: int, widths: Sequence[int], groups: int, stem: str, *, normalized: bool) -> nn.Sequential:
    """The convolutions: images → feature maps of side S/32, with the small stem S/8."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (name, outputs) in enumerate(zip(CONVOLUTIONS, widths, strict=True), start=1):
        kernel, stride = STEMS[stem] if number == 1 else (5 if number == 2 else 3, 1)
        padding, towers = 1 if kernel == 3 else 2, groups if number in GROUPED else 1
        layers[name] = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=towers)
        layers[f"conv{number}"] = nn.ReLU(inplace=True)
        if normalized and number in NORMALIZED:
            layers[f"norm{number}"] = local_response_norm()
        if number in POOLED:
            layers[f"pool{number}"] = nn.MaxPool2d(3, 2)
        inputs = outputs
    return nn.Sequential(layers)


def _init_weights(network: nn.Module, width_ratio: float) -> nn.Module:
    """Weights N(0, 0.01), biases 1 in BIAS_ONE and 0 elsewhere (section 5).

    With `width_ratio` times the published inputs the deviation is divided by √width_ratio, so that the variance of
    outputs stays the same.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01 * width_ratio**-0.5)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, float(name in BIAS_ONE))
    return network
