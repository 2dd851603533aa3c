"""AlexNet, which won ILSVRC 2012 and turned vision to convolutional networks.

Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012,
https://papers.nips.cc/paper/4824. Published: 40.7 % top-1 and 18.2 % top-5 error on ILSVRC-2012's val (one network).

Promise: `variant: paper` has 60,965,224 parameters for 1000 classes: two towers that meet at the third convolution and
at the hidden layers (`groups: 2`; 62,378,344 without), response normalisation after the first two convolutions,
pooling windows that overlap, dropout, and the paper's initial weights and biases. `variant: torchvision` is the
one-tower network of Krizhevsky 2014 (https://arxiv.org/abs/1404.5997) without normalisation, 61,100,840 parameters;
torchvision's weights load by name, and outputs agree.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import dense_head, he_normal, response_norm
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [3, 224, 224], "classes": 1000, "options": {"variant": "paper"}, "parameters": 60_965_224}
SMALL = {"size": 32, "options": {"width": 12, "head_width": 32, "stem": "cifar", "dropout": 0}}
STAGES = ("features.pool1", "features.pool2", "features.conv5", "features.pool5")
HEAD = "classifier.6"

#: maps of the five convolutions
WIDTHS = {"paper": (96, 256, 384, 384, 256), "torchvision": (64, 192, 384, 256, 256)}
#: kernel and stride of the first convolution: the paper's, and one for small images
STEMS = {"imagenet": (11, 4), "cifar": (5, 1)}
#: names of the layers with weights, which are torchvision's; in LONELY a tower sees itself alone
CONVOLUTIONS, DENSE = ("0", "3", "6", "8", "10"), ("1", "4", "6")
LONELY = (2, 4, 5)
NORMALIZED, POOLED = (1, 2), (1, 2, 5)
#: section 5: layers whose biases start at 1, so that their units are active at first
ACTIVE = ("features.3", "features.8", "features.10", "classifier.1", "classifier.4")
#: side in cells of the last map at the published input
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

    stem: `imagenet`, an 11×11 convolution of stride 4, or `cifar`, a 5×5 of stride 1 · width: maps of the first
    convolution, to which the others keep their ratio; 96, in torchvision's 64 · head_width: units of a hidden
    layer · groups: towers; 2, in torchvision's 1.
    """
    for option, value, known in (("variant", variant, WIDTHS), ("stem", stem, STEMS)):
        if value not in known:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, known)}")
    published = WIDTHS[variant]
    width, groups = width or published[0], groups or (2 if variant == "paper" else 1)
    widths = [groups * max(1, round(maps * width / published[0] / groups)) for maps in published]
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
    return _initialised(network, width / published[0]) if variant == "paper" else he_normal(network)


def _side(size: int, stem: str) -> int:
    """How many cells high and wide the hidden layers see an image; the paper's six at most."""
    kernel, stride = STEMS[stem]
    side = (size + 4 - kernel) // stride + 1
    for _ in POOLED:
        side = (side - 3) // 2 + 1
    if side < 1:
        least = 15 if stem == "cifar" else 63
        raise UserError(f"size: {size} is too small for alexnet with stem {stem}; use at least {least}")
    return min(side, GRID)


def _features(inputs: int, widths: Sequence[int], groups: int, stem: str, *, normalized: bool) -> nn.Sequential:
    """The convolutions: images → maps of S/32, with the small stem S/8."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (place, outputs) in enumerate(zip(CONVOLUTIONS, widths, strict=True), start=1):
        kernel, stride = STEMS[stem] if number == 1 else (5 if number == 2 else 3, 1)
        padding, towers = 1 if kernel == 3 else 2, groups if number in LONELY else 1
        layers[place] = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=towers)
        layers[f"conv{number}"] = nn.ReLU(inplace=True)
        if normalized and number in NORMALIZED:
            layers[f"norm{number}"] = response_norm()
        if number in POOLED:
            layers[f"pool{number}"] = nn.MaxPool2d(3, 2)
        inputs = outputs
    return nn.Sequential(layers)


def _initialised(network: nn.Module, share: float) -> nn.Module:
    """Weights N(0, 0.01), biases 1 in ACTIVE and 0 elsewhere: section 5.

    A layer that has a `share` of the published inputs gets as much more deviation as keeps its outputs' variance.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01 * share**-0.5)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, float(name in ACTIVE))
    return network
