"""FCN-8s: FCN-16s with the scores of maps twice as fine again.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
https://arxiv.org/abs/1411.4038. Published: 62.7 mIoU on VOC 2011's validation set (table 2).

Promise: with VGG-16 and 21 classes 134,362,751 parameters without those of the learnt enlargements. Trained in stages,
with `pretrained: {job: <fcn16s>}`, or all at once: the finer maps are then scaled down before they are scored, by the
release's factors.
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
    at_once: bool = False,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    backbone: a classifier of this folder with a stride of 32 · window: side in pixels, a multiple of 32, of what its
    last layers see; 224, as the paper, or the image where that is smaller ·
    learn_upsampling: both enlargements by 2 are trained from their bilinear start · at_once: for training that does not
    start from an fcn16s.
    """
    return fcn.build(spec, 8, backbone, backbone_options, window, learn_upsampling, at_once)
