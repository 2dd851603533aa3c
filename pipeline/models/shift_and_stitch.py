"""Shift-and-stitch: a label for every pixel from a network that strides, without training it again.

Sermanet et al.: OverFeat, ICLR 2014, https://arxiv.org/abs/1312.6229, and Long, Shelhamer, Darrell: Fully
Convolutional Networks for Semantic Segmentation, CVPR 2015, section 3.2, https://arxiv.org/abs/1411.4038.
Published: no score of its own; the second paper chose upsampling instead.

The image is shifted by each of the f×f offsets below the stride f, and the coarse maps are interlaced. The à trous
way gives the same map from the image alone: strides become dilations of what follows. Both judge the window around
every pixel.

Promise: weights are named as those of a heatmap: with `epochs: 0` and `pretrained: {job: <heatmap>}` a trained one
becomes dense. Both ways agree exactly where no layer pads, else as far from the border as padding reaches. Stitching
may put many shifts into one pass; how many changes nothing.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.convolutionalize import Sliding, dilate, sliding
from pipeline.models.parts.spec import Spec

TASKS = ("segmentation",)
PAPER = {
    "input": [3, 384, 384],
    "classes": 1000,
    "options": {"backbone": "vgg", "window": 224, "way": "dilate"},
    "parameters": 138_357_544,
}
STAGES = ()
SMALL = {"size": 40, "options": {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}, "window": 32}}
WAYS = ("stitch", "dilate")
#: shifted images that one pass may hold
AT_ONCE = 64


def build(
    spec: Spec,
    *,
    backbone: str = "vgg",
    backbone_options: dict[str, Any] | None = None,
    window: int | None = None,
    way: str = "stitch",
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    backbone, backbone_options, window: as the heatmap's · way: `stitch` the maps of shifted images, or `dilate`.
    """
    if way not in WAYS:
        raise UserError(f"options.way: {plugins.unknown('way', way, WAYS)}")
    body = sliding(spec, backbone, backbone_options, window)
    if way == "dilate":
        dilate(body)
    return Dense(body)


class Dense(nn.Module):
    """A classifier's logits for the window around every pixel."""

    def __init__(self, body: Sliding) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W → logits B×K×H×W; with a stride of f, f² shifts, as many in one pass as AT_ONCE allows."""
        step = self.body.stride
        high, wide = images.shape[2:]
        cells = [-(-side // step) for side in (high, wide)]
        # of each shifted image, what its windows cover: all are of one size
        down, right = (self.body.window + (number - 1) * step for number in cells)
        around = F.pad(self.body.bordered(images, stride=1), (0, step - 1, 0, step - 1))
        shifts = [around[..., y : y + down, x : x + right] for y in range(step) for x in range(step)]
        together = max(1, AT_ONCE // len(images))
        found = torch.cat([self.body(torch.cat(shifts[at : at + together])) for at in range(0, len(shifts), together)])
        interlaced = found.view(step, step, len(images), -1, *cells).permute(2, 3, 4, 0, 5, 1)
        return interlaced.reshape(len(images), found.shape[1], cells[0] * step, cells[1] * step)[..., :high, :wide]
