"""FCN-16s: FCN-32s plus the scores of a feature map twice as fine.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
https://arxiv.org/abs/1411.4038. Published: 62.4 mIoU on VOC 2011's validation set (table 2).

Promise: with VGG-16 and 21 classes 134,357,354 parameters without those of learnt upsampling. The layers that it adds
to FCN-32s start at zero or bilinear, so with `pretrained: {job: <fcn32s>}` it starts from the predictions of FCN-32s.
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
LEVELS = ()
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

    backbone: a classifier in pipeline/models with a stride of 32 · window: side in pixels, a multiple of 32, of the
    region that its last layers read; 224, as in the paper, or the image if that is smaller ·
    learn_upsampling: train the first upsampling, by 2, from its bilinear start.
    """
    return fcn.build(spec, 16, backbone, backbone_options, window, learn_upsampling)
