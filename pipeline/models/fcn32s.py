"""FCN-32s: a classifier slides over the image, and its coarse scores are enlarged 32 times.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
https://arxiv.org/abs/1411.4038. Published: 59.4 mIoU on VOC 2011's validation set (table 2).

Promise: with VGG-16 and 21 classes 134,346,581 parameters. The score layer starts at zero, the enlargement is bilinear
and stays so, as released. Zeros around the image, 96 pixels where the release has 100, make every pixel the middle of
some window; what that adds is cut off by exact geometry (the release's whole-number offsets are a pixel less).
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
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    backbone: a classifier of this folder with a stride of 32 · window: side in pixels, a multiple of 32, of what its
    last layers see; 224, as the paper, or the image where that is smaller.
    """
    return fcn.build(spec, 32, backbone, backbone_options, window, False)
