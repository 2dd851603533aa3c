"""FCN-32s: a fully convolutional classifier whose coarse scores are upsampled 32 times.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
https://arxiv.org/abs/1411.4038. Published: 59.4 mIoU on VOC 2011's validation set (table 2).

Promise: with VGG-16 and 21 classes 134,346,581 parameters. The score layer starts at zero; upsampling is bilinear and
fixed, as released. The image is padded with 96 zeros, where the release has 100, so that every pixel is in the middle
of some window; the result is cropped to the image exactly (the release's whole-number offsets are a pixel less).
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
    "parameters": 134_346_581,
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
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    backbone: a classifier in pipeline/models with a stride of 32 · window: side in pixels, a multiple of 32, of the
    region that its last layers read; 224, as in the paper, or the image if that is smaller.
    """
    return fcn.build(spec, 32, backbone, backbone_options, window, False)
