"""ResNeXt: a ResNet whose blocks sum many narrow parallel paths.

Xie, Girshick, Dollár, Tu, He: Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017,
https://arxiv.org/abs/1611.05431. Published: 22.2 % top-1 error on ImageNet (50, 32×4d, one crop), 20.4 % (101, 64×4d);
on CIFAR-10 3.65 % (29, 8×64d).

Promise: 25,028,904 / 88,791,336 / 83,455,272 parameters at 50 32×4d / 101 32×8d / 101 64×4d for 1000 classes, and
34,426,698 / 68,155,210 in the CIFAR nets 29 8×64d / 16×64d for 10. The paths of a block are one grouped convolution
(figure 3c), which has the stride. Torchvision's weights load by name, and outputs agree.
"""

from torch import nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.spec import Spec
from pipeline.models.resnet import STEMS, Bottleneck, build_residual, projection_shortcut

TASKS = ("classification",)
PAPER = {"input": [3, 224, 224], "classes": 1000, "options": {"depth": 50}, "parameters": 25_028_904}
SMALL = {"size": 32, "options": {"depth": 29, "width": 8, "cardinality": 4, "group_width": 2}}
LEVELS = ("layer1", "layer2", "layer3", "layer4")
HEAD = "fc"

#: blocks per level by depth: table 1, and section 5.3
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 29: (3, 3, 3)}
#: depths of the networks for small images
CIFAR = (29,)


def build(
    spec: Spec,
    *,
    depth: int = 50,
    cardinality: int = 32,
    group_width: int = 4,
    width: int = 64,
    stem: str | None = None,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes.

    cardinality: paths per block · group_width: channels of a path in the first level, doubled in each further level ·
    width: channels of the first level, whose blocks output four times as many · stem: `imagenet` or `cifar` as in
    resnet; by default the paper's at this depth.
    """
    if depth not in BLOCKS:
        depths = ", ".join(map(str, sorted(BLOCKS)))
        raise UserError(f"options.depth: {depth} is not one of the published depths; use {depths}")
    stem = stem or ("cifar" if depth in CIFAR else "imagenet")
    if stem not in STEMS:
        raise UserError(f"options.stem: {plugins.unknown('stem', stem, STEMS)}")

    def block(inputs: int, channels: int, stride: int) -> nn.Module:
        inner = cardinality * group_width * channels // width
        return Bottleneck(inputs, channels, stride, projection_shortcut, inner=inner, groups=cardinality)

    return build_residual(spec, BLOCKS[depth], stem, width, Bottleneck.EXPANSION, block)
