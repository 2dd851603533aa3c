"""FCN-8s: FCN-16s plus the scores of a feature map twice as fine again.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
https://arxiv.org/abs/1411.4038. Published: 62.7 mIoU on VOC 2011's validation set (table 2).

Promise: with VGG-16 and 21 classes 134,362,751 parameters without those of learnt upsampling. Training starts from an
FCN-16s (`pretrained: {job: <fcn16s>}`), or is at once: the finer feature maps are then scaled down before they are
scored, by the release's factors.
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
    "parameters": 134_362_751,
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
    at_once: bool = False,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    backbone: a classifier in pipeline/models with a stride of 32 · window: side in pixels, a multiple of 32, of the
    region that its last layers read; 224, as in the paper, or the image if that is smaller ·
    learn_upsampling: train both upsamplings by 2 from their bilinear start · at_once: for training that does not start
    from an fcn16s.
    """
    return fcn.build(spec, 8, backbone, backbone_options, window, learn_upsampling, at_once)
