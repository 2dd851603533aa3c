"""ResNet: blocks learn a residual that is added to their input, so that networks of a hundred layers can be trained.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, https://arxiv.org/abs/1512.03385.
Published: 24.7 / 23.6 / 23.0 % top-1 error on ImageNet (depth 50 / 101 / 152, one crop), and 8.75 / 7.51 / 7.17 /
6.97 / 6.43 % on CIFAR-10 (depth 20 / 32 / 44 / 56 / 110).

Promise: 11,689,512 / 21,797,672 / 25,557,032 / 44,549,160 / 60,192,808 parameters at depth 18 / 34 / 50 / 101 / 152
for 1000 classes, and 269,722 / 464,154 / 658,586 / 853,018 / 1,727,962 in the CIFAR nets for 10. Where the channels
double, shortcuts are projections (option B), in the CIFAR nets zero-padded identities without parameters (option
A). `variant: paper` has the stride in a bottleneck's first 1×1 convolution, `variant: torchvision` in its 3×3; in the
latter torchvision's weights load by name, and outputs agree.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import he_fan_out
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {
    "input": [3, 224, 224],
    "classes": 1000,
    "options": {"depth": 50, "variant": "paper"},
    "parameters": 25_557_032,
}
SMALL = {"size": 32, "options": {"depth": 20, "width": 4}}
LEVELS = ("layer1", "layer2", "layer3", "layer4")
HEAD = "fc"

#: blocks per level by depth: table 1, and the 6n + 2 layers of section 4.2
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
CIFAR = {depth: ((depth - 2) // 6,) * 3 for depth in (20, 32, 44, 56, 110)}
VARIANTS = ("paper", "torchvision")
STEMS = ("imagenet", "cifar")

#: (channels in, channels out, stride) → a block's shortcut; None for no shortcut
Shortcut = Callable[[int, int, int], nn.Module | None]


def build(
    spec: Spec,
    *,
    depth: int = 18,
    width: int | None = None,
    stem: str | None = None,
    plain: bool = False,
    variant: str = "torchvision",
    zero_gamma: bool = False,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes.

    width: channels of the first level; 64, in the CIFAR nets 16 · stem: `imagenet`, a 7×7 convolution and a pooling of
    stride 2 each, or `cifar`, a 3×3 of stride 1; by default the paper's at this depth · plain: no shortcuts, the
    paper's control · zero_gamma: every block starts as its shortcut alone (Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677).
    """
    if depth not in BASIC | BOTTLENECK | CIFAR:
        depths = ", ".join(map(str, sorted(BASIC | BOTTLENECK | CIFAR)))
        raise UserError(f"options.depth: {depth} is not one of the published depths; use {depths}")
    small = depth in CIFAR
    stem = stem or ("cifar" if small else "imagenet")
    for option, value, choices in (("variant", variant, VARIANTS), ("stem", stem, STEMS)):
        if value not in choices:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, choices)}")
    if plain and zero_gamma:
        raise UserError("options.zero_gamma: with plain every block would output zeros; leave out plain or zero_gamma")
    kind: type[Basic] | type[Bottleneck] = Bottleneck if depth in BOTTLENECK else Basic
    shortcut: Shortcut = no_shortcut if plain else padded_shortcut if small else projection_shortcut

    def block(inputs: int, channels: int, stride: int) -> nn.Module:
        return kind(inputs, channels, stride, shortcut, early=variant == "paper")

    width = width or (16 if small else 64)
    network = build_residual(spec, (BASIC | BOTTLENECK | CIFAR)[depth], stem, width, kind.EXPANSION, block)
    if zero_gamma:
        for norm in (item.last for item in network.modules() if isinstance(item, Basic | Bottleneck)):
            nn.init.zeros_(norm.weight)
    return network


def build_residual(
    spec: Spec,
    counts: Sequence[int],
    stem: str,
    width: int,
    expansion: int,
    block: Callable[[int, int, int], nn.Module],
) -> nn.Module:
    """Build a residual network: the stem, levels of `counts` blocks, and the output layer.

    block: (channels in, the level's channels, stride) → a block with `expansion` times the level's channels as output;
    the first level has `width` channels.
    """
    channels = inputs = width
    layers = _stem(spec.channels, width, stem)
    for level, blocks in zip(LEVELS, counts, strict=False):
        residuals = []
        for stride in (1 if level == LEVELS[0] else 2, *[1] * (blocks - 1)):
            residuals.append(block(inputs, channels, stride))
            inputs = channels * expansion
        layers[level] = nn.Sequential(*residuals)
        channels *= 2
    layers |= {level: nn.Identity() for level in LEVELS if level not in layers}  # the CIFAR nets have three levels
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(inputs, spec.classes)}
    return he_fan_out(nn.Sequential(layers))


def _stem(channels: int, width: int, stem: str) -> OrderedDict[str, nn.Module]:
    """The layers before the first level: images B×C×S×S → feature maps of side S/4 or S."""
    kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
    )
    if stem == "imagenet":
        layers["maxpool"] = nn.MaxPool2d(3, 2, 1)
    return layers


class Basic(nn.Module):
    """Two 3×3 convolutions, the first with the stride, and a shortcut around them."""

    EXPANSION = 1

    def __init__(self, inputs: int, channels: int, stride: int, shortcut: Shortcut, *, early: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut(inputs, channels, stride)

    @property
    def last(self) -> nn.BatchNorm2d:
        """The normalisation before the sum."""
        return self.bn2

    def forward(self, features: Tensor) -> Tensor:
        """B×inputs×H×W → B×channels×H/stride×W/stride."""
        residual = F.relu(self.bn1(self.conv1(features)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual if self.downsample is None else residual + self.downsample(features), inplace=True)


class Bottleneck(nn.Module):
    """A 3×3 convolution between two 1×1, and a shortcut around all three.

    early: the first convolution has the stride, not the 3×3 · inner: channels of the 3×3, by default the level's ·
    groups: of the 3×3, with `inner / groups` channels each.
    """

    EXPANSION = 4

    def __init__(
        self,
        inputs: int,
        channels: int,
        stride: int,
        shortcut: Shortcut,
        *,
        early: bool = False,
        inner: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        inner, outputs = inner or channels, channels * self.EXPANSION
        self.conv1 = nn.Conv2d(inputs, inner, 1, stride if early else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, 1 if early else stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    @property
    def last(self) -> nn.BatchNorm2d:
        """The normalisation before the sum."""
        return self.bn3

    def forward(self, features: Tensor) -> Tensor:
        """B×inputs×H×W → B×4·channels×H/stride×W/stride."""
        residual = F.relu(self.bn1(self.conv1(features)), inplace=True)
        residual = F.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        return F.relu(residual if self.downsample is None else residual + self.downsample(features), inplace=True)


def no_shortcut(inputs: int, outputs: int, stride: int) -> None:
    """No shortcut: a plain net."""


def projection_shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Option B: the identity, or a normalised 1×1 convolution if the shape changes."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def padded_shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Option A: the identity, or every `stride`-th pixel with channels of zeros added if the shape changes."""
    return nn.Identity() if inputs == outputs and stride == 1 else Padded(outputs - inputs, stride)


class Padded(nn.Module):
    """Every `stride`-th pixel, with `more` channels of zeros appended."""

    def __init__(self, more: int, stride: int) -> None:
        super().__init__()
        self.more, self.stride = more, stride

    def forward(self, features: Tensor) -> Tensor:
        """B×C×H×W → B×(C+more)×⌈H/stride⌉×⌈W/stride⌉."""
        return F.pad(features[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
