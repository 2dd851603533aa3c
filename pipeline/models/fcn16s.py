"""FCN-16s: FCN-32s with the scores of maps twice as fine added.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
https://arxiv.org/abs/1411.4038. Published: 62.4 mIoU on VOC 2011's validation set (table 2).

Promise: with VGG-16 and 21 classes 134,357,354 parameters without those of the learnt enlargement. What it adds to
FCN-32s starts at zero or bilinear, so with `pretrained: {job: <fcn32s>}` it starts where that ended.
"""

from typing import Any

from torch import nn

from pipeline.models.parts import fcn
from pipeline.models.parts.spec import Spec

TASKS = ("segmentation",)
PAPER = {
    "input": [3, 500, 500],
    "classes": 21,
    "options": {"backbone": "vgg", "window": 224},
    "parameters": 134_357_354,
}
STAGES = ()
SMALL = {
    "size": 64,
    "options": {
        "backbone": "vgg",
        "backbone_options": {"config": "A", "width": 8, "head_width": 32, "dropout": 0, "norm": "batch"},
        "window": 32,
    },
}


def build(
    spec: Spec,
    *,
    backbone: str = "vgg",
    backbone_options: dict[str, Any] | None = None,
    window: int | None = None,
    learn_upsampling: bool = False,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    backbone: a classifier of this folder with a stride of 32 · window: side in pixels, a multiple of 32, of what its
    last layers see; 224, as the paper, or the image where that is smaller ·
    learn_upsampling: the first enlargement, by 2, is trained from its bilinear start.
    """
    return fcn.build(spec, 16, backbone, backbone_options, window, learn_upsampling)
