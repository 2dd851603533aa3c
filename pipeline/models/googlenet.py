"""GoogLeNet: Inception modules with parallel kernels of several sizes, made cheap by 1×1 convolutions before them.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going Deeper with Convolutions, CVPR 2015,
https://arxiv.org/abs/1409.4842. Published: 10.07 % top-5 error on ILSVRC-2014's val (one network, one crop), 6.67 %
with seven networks and 144 crops.

Promise: `variant: paper` has 13,378,280 parameters for 1000 classes, 6,998,552 of them in use once it is trained: two
auxiliary classifiers read modules 4a and 4d in training only, when the network returns their logits after its own. The
paper adds their losses times 0.3, as the classification task does. `variant: torchvision` has batch normalisation
instead of response normalisation and biases, and 3×3 kernels instead of 5×5, 13,004,888 parameters; torchvision's
weights load by name, and outputs agree. The paper does not publish its initialisation; here it is He's.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import he_normal, local_response_norm
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [3, 224, 224], "classes": 1000, "options": {"variant": "paper"}, "parameters": 13_378_280}
SMALL = {"size": 32, "options": {"width": 8, "stem": "cifar", "dropout": 0, "auxiliary_dropout": 0}}
LEVELS = ("conv3", "inception3b", "inception4e", "inception5b")
HEAD = "fc"

#: table 1: channels of a module's 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5 and pool projection
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
#: modules that an auxiliary classifier reads, and modules that a pooling follows
AUXILIARY = {"4a": "aux1", "4d": "aux2"}
POOLED = {"3b": "maxpool3", "4e": "maxpool4"}
#: kernel and stride of the first convolution by stem; a pooling follows the paper's
STEMS = {"imagenet": (7, 2), "cifar": (3, 1)}
SMALLEST = {"imagenet": 31, "cifar": 8}
VARIANTS = ("paper", "torchvision")
WIDTH = 64


def build(
    spec: Spec,
    *,
    variant: str = "paper",
    stem: str = "imagenet",
    width: int = WIDTH,
    auxiliary: bool = True,
    reduced: bool = True,
    dropout: float | None = None,
    auxiliary_dropout: float = 0.7,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes; in training a tuple of these and both auxiliary classifiers'.

    stem: `imagenet`, a 7×7 convolution and a pooling of stride 2 each, or `cifar`, a 3×3 of stride 1 · width: channels
    of the first convolution, with which all others scale · auxiliary: False omits the auxiliary classifiers · reduced:
    False omits a module's 1×1 convolutions before larger kernels and after the pooling (the naive module of figure
    2a) · dropout: before the last layer; 0.4, in torchvision's 0.2 · auxiliary_dropout: before each auxiliary's last.
    """
    for option, value, choices in (("variant", variant, VARIANTS), ("stem", stem, STEMS)):
        if value not in choices:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, choices)}")
    if spec.size < SMALLEST[stem]:
        raise UserError(f"size: {spec.size} is too small for googlenet with stem {stem}; use at least {SMALLEST[stem]}")
    paper = variant == "paper"
    layers = _stem(spec.channels, width, stem, paper)
    inputs = _scale_channels(192, width)
    for name, published in MODULES.items():
        channels = [_scale_channels(count, width) for count in published]
        layers[f"inception{name}"] = Inception(inputs, channels, paper, reduced)
        inputs = channels[0] + channels[2] + channels[4] + (channels[5] if reduced else inputs)
        if name in AUXILIARY and auxiliary:
            side = ((spec.size + 1) // 2 // 8) if stem == "imagenet" else spec.size // 4
            head = [_scale_channels(count, width) for count in (128, 1024)]
            layers[AUXILIARY[name]] = Auxiliary(inputs, head, spec.classes, side, auxiliary_dropout, paper)
        if name in POOLED:
            kernel = 3 if paper or name == "3b" else 2
            layers[POOLED[name]] = nn.MaxPool2d(kernel, 2, ceil_mode=True)
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["dropout"] = nn.Dropout((0.4 if paper else 0.2) if dropout is None else dropout)
    layers["fc"] = nn.Linear(inputs, spec.classes)
    return he_normal(GoogLeNet(layers))


class GoogLeNet(nn.Sequential):
    """Layers in sequence; an auxiliary classifier follows the module that it reads."""

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images B×C×S×S → logits B×classes; in training a tuple of these and the auxiliary classifiers' logits."""
        features, auxiliary_logits = images, []
        for layer in self:
            if not isinstance(layer, Auxiliary):
                features = layer(features)
            elif self.training:
                auxiliary_logits.append(layer(features))
        return (features, *auxiliary_logits) if auxiliary_logits else features


def _scale_channels(channels: int, width: int) -> int:
    return max(1, round(channels * width / WIDTH))


def _stem(channels: int, width: int, stem: str, paper: bool) -> OrderedDict[str, nn.Module]:
    """The layers before the modules: images B×C×S×S → feature maps of side S/8, with the small stem S/2."""
    kernel, stride = STEMS[stem]
    wide = _scale_channels(192, width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=_unit(channels, width, kernel, stride, paper=paper))
    if stem == "imagenet":
        layers["maxpool1"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    if paper:
        layers["norm1"] = local_response_norm()
    layers["conv2"] = _unit(width, width, 1, paper=paper)
    layers["conv3"] = _unit(width, wide, 3, paper=paper)
    if paper:
        layers["norm3"] = local_response_norm()
    layers["maxpool2"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    return layers


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, *, paper: bool) -> nn.Sequential:
    """A convolution with a rectifier; torchvision's variant has batch normalisation."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=paper)
    )
    if not paper:
        layers["bn"] = nn.BatchNorm2d(outputs, eps=0.001)
    layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


class Inception(nn.Module):
    """Four parallel branches: 1×1, 3×3, 5×5, and 3×3 max pooling; `reduced` adds 1×1 convolutions to the last three."""

    def __init__(self, inputs: int, channels: Sequence[int], paper: bool, reduced: bool) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = channels
        unit = partial(_unit, paper=paper)
        self.branch1 = unit(inputs, one, 1)
        kernel = 5 if paper else 3
        if reduced:
            self.branch2 = nn.Sequential(unit(inputs, reduce3, 1), unit(reduce3, three, 3))
            self.branch3 = nn.Sequential(unit(inputs, reduce5, 1), unit(reduce5, five, kernel))
            self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(inputs, pool, 1))
        else:
            self.branch2, self.branch3 = unit(inputs, three, 3), unit(inputs, five, kernel)
            self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """B×inputs×H×W → B×(1×1 + 3×3 + 5×5 + pool)×H×W."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(features) for branch in branches], 1)


class Auxiliary(nn.Sequential):
    """An auxiliary classifier, which improves gradients of early layers: B×inputs×side×side → logits B×classes."""

    def __init__(
        self, inputs: int, widths: Sequence[int], classes: int, side: int, dropout: float, paper: bool
    ) -> None:
        channels, hidden = widths
        kernel = min(5, side)
        cells = (side - kernel) // 3 + 1 if paper else 4
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            pool=nn.AvgPool2d(kernel, 3) if paper else nn.AdaptiveAvgPool2d(cells),
            conv=_unit(inputs, channels, 1, paper=paper),
            flatten=nn.Flatten(),
            fc1=nn.Linear(channels * cells**2, hidden),
            relu=nn.ReLU(inplace=True),
            dropout=nn.Dropout(dropout),
            fc2=nn.Linear(hidden, classes),
        )
        super().__init__(layers)
