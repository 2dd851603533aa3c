"""Shift-and-stitch: a label for every pixel from a network that strides, without training it again.

Sermanet et al.: OverFeat, ICLR 2014, https://arxiv.org/abs/1312.6229, and Long, Shelhamer, Darrell: Fully
Convolutional Networks for Semantic Segmentation, CVPR 2015, section 3.2, https://arxiv.org/abs/1411.4038.
Published: no score of its own; the second paper chose upsampling instead.

The image is shifted by each of the f×f offsets below the stride f, and the coarse maps are interlaced. The à trous
way gives the same map in one pass: strides become dilations of what follows. Both judge the window around every pixel.

Promise: weights are named as those of a heatmap: with `epochs: 0` and `pretrained: {job: <heatmap>}` a trained one
becomes dense. Both ways agree exactly where no layer pads, else as far from the border as padding reaches.
"""

from typing import Any

from torch import Tensor, nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models._convolutional import Sliding, dilate, sliding
from pipeline.models._spec import Spec

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
        """B×C×H×W → logits B×K×H×W; with a stride of f, f² passes."""
        step = self.body.stride
        high, wide = images.shape[2:]
        around = self.body.bordered(images, stride=1)
        dense: Tensor | None = None
        for down in range(min(step, high)):
            for right in range(min(step, wide)):
                cells = self.body(around[..., down:, right:])
                if dense is None:
                    dense = cells.new_empty(*cells.shape[:2], high, wide)
                part = dense[..., down::step, right::step]
                part.copy_(cells[..., : part.shape[2], : part.shape[3]])
        assert dense is not None
        return dense
