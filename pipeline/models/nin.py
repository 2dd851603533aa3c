"""Network in Network: convolutions by small perceptrons, and global average pooling for the classes.

Lin, Chen, Yan: Network In Network, ICLR 2014, https://arxiv.org/abs/1312.4400. Published: 10.41 % error on CIFAR-10,
8.81 % with shifts and flips.

Promise: `variant: cifar` has 966,986 parameters for 10 classes and 984,356 for 100, `variant: imagenet` 7,595,176 for
1000. A mlpconv is a convolution and two 1×1, each with a rectifier; the last one's feature maps are averaged to the
logits, so no layer is fully connected. Widths are those of the networks that the authors released; all poolings are
max pooling, as in the paper. The paper does not publish its initialisation; here it is He's.
"""

from collections import OrderedDict
from itertools import pairwise

from torch import nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import he_normal
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [3, 32, 32], "classes": 10, "options": {"variant": "cifar"}, "parameters": 966_986}
SMALL = {"size": 32, "options": {"width": 24, "dropout": 0}}
LEVELS = ("mlpconv1", "mlpconv2", "mlpconv3", "mlpconv4")
HEAD = "output"

#: by variant each mlpconv's kernel, stride, padding, and channels of its three layers; the last gives the classes
NETS: dict[str, tuple[tuple[int, int, int, tuple[int, ...]], ...]] = {
    "cifar": ((5, 1, 2, (192, 160, 96)), (5, 1, 2, (192, 192, 192)), (3, 1, 1, (192, 192))),
    "imagenet": (
        (11, 4, 0, (96, 96, 96)),
        (5, 1, 2, (256, 256, 256)),
        (3, 1, 1, (384, 384, 384)),
        (3, 1, 1, (1024, 1024)),
    ),
}
HEADS = ("averaged", "connected")
#: smallest image by variant
SMALLEST = {"cifar": 4, "imagenet": 39}


def build(
    spec: Spec, *, variant: str = "cifar", width: int | None = None, dropout: float = 0.5, head: str = "averaged"
) -> nn.Module:
    """Images B×C×S×S → logits B×classes.

    variant: three mlpconvs for small images, or four that begin with a stride of 4 · width: channels of the first
    convolution, with which the others scale; 192, in `imagenet` 96 · dropout: between mlpconvs · head: the classes'
    feature maps are `averaged`, or fully `connected` to the logits, the paper's control (section 4.6).
    """
    for option, value, choices in (("variant", variant, NETS), ("head", head, HEADS)):
        if value not in choices:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, choices)}")
    if spec.size < SMALLEST[variant]:
        raise UserError(f"size: {spec.size} is too small for nin {variant}; use at least {SMALLEST[variant]}")
    net = NETS[variant]
    published = net[0][3][0]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs, side = spec.channels, spec.size
    for number, (kernel, stride, padding, channels) in enumerate(net, start=1):
        if number > 1:
            layers[f"pool{number - 1}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
            layers[f"drop{number - 1}"] = nn.Dropout(dropout)
            side = side // 2
        widths = [max(1, round(count * (width or published) / published)) for count in channels]
        layers[f"mlpconv{number}"] = _mlpconv(inputs, widths, kernel, stride, padding)
        inputs, side = widths[-1], (side + 2 * padding - kernel) // stride + 1
    layers |= {level: nn.Identity() for level in LEVELS if level not in layers}
    layers |= {"output": nn.Conv2d(inputs, spec.classes, 1), "relu": nn.ReLU(inplace=True)}
    if head == "averaged":
        layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    else:
        layers |= {"flatten": nn.Flatten(), "fc": nn.Linear(spec.classes * side**2, spec.classes)}
    return he_normal(nn.Sequential(layers))


def _mlpconv(inputs: int, widths: list[int], kernel: int, stride: int, padding: int) -> nn.Sequential:
    """A convolution and 1×1 convolutions: a perceptron at every position."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, widths[0], kernel, stride, padding), nn.ReLU(inplace=True)]
    for hidden, outputs in pairwise(widths):
        layers += [nn.Conv2d(hidden, outputs, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
