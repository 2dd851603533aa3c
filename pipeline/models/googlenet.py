"""GoogLeNet: modules that look through several windows at once, and are cheap because 1×1 convolutions come first.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going Deeper with Convolutions, CVPR 2015,
https://arxiv.org/abs/1409.4842. Published: 10.07 % top-5 error on ILSVRC-2014's val (one network, one crop), 6.67 %
with seven networks and 144 crops.

Promise: `variant: paper` has 13,378,280 parameters for 1000 classes, 6,998,552 of them in use once it is trained: two
auxiliary classifiers read modules 4a and 4d in training only, where the network gives their logits behind its own. The
paper adds their losses times 0.3, as the classification task does. `variant: torchvision` has batch normalisation for
response normalisation and biases, and 3×3 windows for 5×5, 13,004,888 parameters; torchvision's weights load by
name, and outputs agree. How the weights started is not printed; here it is He's way.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import he_normal, response_norm
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [3, 224, 224], "classes": 1000, "options": {"variant": "paper"}, "parameters": 13_378_280}
SMALL = {"size": 32, "options": {"width": 8, "stem": "cifar", "dropout": 0, "auxiliary_dropout": 0}}
STAGES = ("conv3", "inception3b", "inception4e", "inception5b")
HEAD = "fc"

#: table 1: maps of a module's 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5 and pool projection
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
#: modules that are judged while training, and those that a pooling follows
JUDGED = {"4a": "aux1", "4d": "aux2"}
POOLED = {"3b": "maxpool3", "4e": "maxpool4"}
#: kernel and stride of the first convolution by stem; after the paper's, maps are pooled at once
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
    """Images B×C×S×S → logits B×classes; in training a tuple of these and of both auxiliary classifiers'.

    stem: `imagenet`, a 7×7 convolution and a pooling of stride 2 each, or `cifar`, a 3×3 of stride 1 · width: maps
    of the first convolution, to which all others keep their ratio · auxiliary: False leaves these classifiers out ·
    reduced: False leaves out a module's 1×1 before larger windows and behind the pooling, the naive module of figure
    2a · dropout: before the last layer; 0.4, in torchvision's 0.2 · auxiliary_dropout: before each auxiliary's last.
    """
    for option, value, known in (("variant", variant, VARIANTS), ("stem", stem, STEMS)):
        if value not in known:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, known)}")
    if spec.size < SMALLEST[stem]:
        raise UserError(f"size: {spec.size} is too small for googlenet with stem {stem}; use at least {SMALLEST[stem]}")
    paper = variant == "paper"
    layers = _stem(spec.channels, width, stem, paper)
    inputs = _scaled(192, width)
    for name, published in MODULES.items():
        maps = [_scaled(count, width) for count in published]
        layers[f"inception{name}"] = Inception(inputs, maps, paper, reduced)
        inputs = maps[0] + maps[2] + maps[4] + (maps[5] if reduced else inputs)
        if name in JUDGED and auxiliary:
            side = ((spec.size + 1) // 2 // 8) if stem == "imagenet" else spec.size // 4
            head = [_scaled(count, width) for count in (128, 1024)]
            layers[JUDGED[name]] = Auxiliary(inputs, head, spec.classes, side, auxiliary_dropout, paper)
        if name in POOLED:
            kernel = 3 if paper or name == "3b" else 2
            layers[POOLED[name]] = nn.MaxPool2d(kernel, 2, ceil_mode=True)
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["dropout"] = nn.Dropout((0.4 if paper else 0.2) if dropout is None else dropout)
    layers["fc"] = nn.Linear(inputs, spec.classes)
    return he_normal(GoogLeNet(layers))


class GoogLeNet(nn.Sequential):
    """Layers one after the other; auxiliary classifiers stand behind the module that they judge."""

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """B×C×S×S → logits B×classes, in training followed by those of the auxiliary classifiers."""
        maps, judged = images, []
        for layer in self:
            if not isinstance(layer, Auxiliary):
                maps = layer(maps)
            elif self.training:
                judged.append(layer(maps))
        return (maps, *judged) if judged else maps


def _scaled(maps: int, width: int) -> int:
    return max(1, round(maps * width / WIDTH))


def _stem(channels: int, width: int, stem: str, paper: bool) -> OrderedDict[str, nn.Module]:
    """What comes before the modules: images B×C×S×S → maps of S/8, with the small stem S/2."""
    kernel, stride = STEMS[stem]
    wide = _scaled(192, width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=_unit(channels, width, kernel, stride, paper=paper))
    if stem == "imagenet":
        layers["maxpool1"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    if paper:
        layers["norm1"] = response_norm()
    layers["conv2"] = _unit(width, width, 1, paper=paper)
    layers["conv3"] = _unit(width, wide, 3, paper=paper)
    if paper:
        layers["norm3"] = response_norm()
    layers["maxpool2"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    return layers


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, *, paper: bool) -> nn.Sequential:
    """A convolution with a rectifier; torchvision's is normalised."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=paper)
    )
    if not paper:
        layers["bn"] = nn.BatchNorm2d(outputs, eps=0.001)
    layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


class Inception(nn.Module):
    """Four looks at the same maps, side by side: 1×1, 3×3, 5×5, and the largest of 3×3; where `reduced`, by 1×1."""

    def __init__(self, inputs: int, maps: Sequence[int], paper: bool, reduced: bool) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = maps
        unit = partial(_unit, paper=paper)
        self.branch1 = unit(inputs, one, 1)
        window = 5 if paper else 3
        if reduced:
            self.branch2 = nn.Sequential(unit(inputs, reduce3, 1), unit(reduce3, three, 3))
            self.branch3 = nn.Sequential(unit(inputs, reduce5, 1), unit(reduce5, five, window))
            self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(inputs, pool, 1))
        else:
            self.branch2, self.branch3 = unit(inputs, three, 3), unit(inputs, five, window)
            self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """B×inputs×H×W → B×(1×1 + 3×3 + 5×5 + pool)×H×W."""
        return torch.cat([self.branch1(maps), self.branch2(maps), self.branch3(maps), self.branch4(maps)], 1)


class Auxiliary(nn.Sequential):
    """A classifier half-way, so that gradients reach the early layers: maps B×inputs×side×side → logits B×classes."""

    def __init__(
        self, inputs: int, widths: Sequence[int], classes: int, side: int, dropout: float, paper: bool
    ) -> None:
        maps, hidden = widths
        window = min(5, side)
        cells = (side - window) // 3 + 1 if paper else 4
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            pool=nn.AvgPool2d(window, 3) if paper else nn.AdaptiveAvgPool2d(cells),
            conv=_unit(inputs, maps, 1, paper=paper),
            flatten=nn.Flatten(),
            fc1=nn.Linear(maps * cells**2, hidden),
            relu=nn.ReLU(inplace=True),
            dropout=nn.Dropout(dropout),
            fc2=nn.Linear(hidden, classes),
        )
        super().__init__(layers)
