"""ResNeXt: a ResNet whose blocks add up many narrow paths.

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
from pipeline.models.resnet import STEMS, Bottleneck, projected, stacked

TASKS = ("classification",)
PAPER = {"input": [3, 224, 224], "classes": 1000, "options": {"depth": 50}, "parameters": 25_028_904}
SMALL = {"size": 32, "options": {"depth": 29, "width": 8, "cardinality": 4, "group_width": 2}}
STAGES = ("layer1", "layer2", "layer3", "layer4")
HEAD = "fc"

#: blocks of each stage by depth: table 1, and section 5.3
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

    cardinality: paths of a block · group_width: channels of a path in the first stage, doubled in each further
    one · width: channels of the first stage, of which a block gives four times as many · stem: `imagenet` or `cifar`
    as in resnet; by default as the paper has it at this depth.
    """
    if depth not in BLOCKS:
        depths = ", ".join(map(str, sorted(BLOCKS)))
        raise UserError(f"options.depth: {depth} is not among the published depths {depths}. Choose one of these.")
    stem = stem or ("cifar" if depth in CIFAR else "imagenet")
    if stem not in STEMS:
        raise UserError(f"options.stem: {plugins.unknown('stem', stem, STEMS)}")

    def block(inputs: int, channels: int, stride: int) -> nn.Module:
        inner = cardinality * group_width * channels // width
        return Bottleneck(inputs, channels, stride, projected, inner=inner, groups=cardinality)

    return stacked(spec, BLOCKS[depth], stem, width, Bottleneck.EXPANSION, block)
