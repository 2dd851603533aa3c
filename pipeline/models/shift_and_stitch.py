"""Shift-and-stitch: dense predictions from a network with stride, without retraining.

Sermanet et al.: OverFeat, ICLR 2014, https://arxiv.org/abs/1312.6229, and Long, Shelhamer, Darrell: Fully
Convolutional Networks for Semantic Segmentation, CVPR 2015, section 3.2, https://arxiv.org/abs/1411.4038.
No score is published; the second paper chose upsampling instead.

`mode: stitch` shifts the image by each of the f×f offsets below the stride f and interlaces the coarse maps.
`mode: dilate` (à trous) gives the same map in one pass: strides become dilations of the layers that follow. Both
classify the window around every pixel.

Promise: weights have the names of a heatmap's: with `epochs: 0` and `pretrained: {job: <heatmap>}` a trained heatmap
becomes dense. Both modes agree exactly if no layer pads, else except near the border, as far as padding reaches. How
many shifts one pass holds does not change the result.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.convolutionalize import Sliding, build_sliding, dilate
from pipeline.models.parts.spec import Spec

TASKS = ("segmentation",)
PAPER = {
    "input": [3, 384, 384],
    "classes": 1000,
    "options": {"backbone": "vgg", "window": 224, "mode": "dilate"},
    "parameters": 138_357_544,
}
LEVELS = ()
SMALL = {"size": 40, "options": {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}, "window": 32}}
MODES = ("stitch", "dilate")
#: shifted images per forward pass
IMAGES_PER_PASS = 64


def build(
    spec: Spec,
    *,
    backbone: str = "vgg",
    backbone_options: dict[str, Any] | None = None,
    window: int | None = None,
    mode: str = "stitch",
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    backbone, backbone_options, window: as in heatmap · mode: `stitch` or `dilate`.
    """
    if mode not in MODES:
        raise UserError(f"options.mode: {plugins.unknown('mode', mode, MODES)}")
    body = build_sliding(spec, backbone, backbone_options, window)
    if mode == "dilate":
        dilate(body)
    return Dense(body)


class Dense(nn.Module):
    """A classifier's logits of the window around every pixel."""

    def __init__(self, body: Sliding) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W → logits B×K×H×W; a stride of f needs f² shifts, IMAGES_PER_PASS images per pass."""
        step = self.body.stride
        height, width = images.shape[2:]
        cells = [-(-side // step) for side in (height, width)]
        # the region that the windows of each shifted image cover; its size is the same for all shifts
        rows, columns = (self.body.window + (number - 1) * step for number in cells)
        padded = F.pad(self.body.pad_border(images, stride=1), (0, step - 1, 0, step - 1))
        shifts = [padded[..., y : y + rows, x : x + columns] for y in range(step) for x in range(step)]
        per_pass = max(1, IMAGES_PER_PASS // len(images))
        passes = (torch.cat(shifts[start : start + per_pass]) for start in range(0, len(shifts), per_pass))
        # where layers pad, a dilated body has further cells, whose windows reach past the border
        logits = torch.cat([self.body(shifted)[..., : cells[0], : cells[1]] for shifted in passes])
        interlaced = logits.view(step, step, len(images), -1, *cells).permute(2, 3, 4, 0, 5, 1)
        return interlaced.reshape(len(images), logits.shape[1], cells[0] * step, cells[1] * step)[..., :height, :width]
