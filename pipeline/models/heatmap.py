"""Heatmap: a fully convolutional classifier whose logits per window are upsampled to the image's size.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section 3.1 and figure 2,
https://arxiv.org/abs/1411.4038. No score is published; FCN improves this coarse map with skips and upsampling.

Promise: a converted classifier without further layers, so its parameters are the classifier's; with VGG-16 for 1000
classes 138,357,544. Weights have the classifier's names: `pretrained: {job: <classifier>}` loads all but a head for
another number of classes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.convolutionalize import Sliding, build_sliding
from pipeline.models.parts.spec import Spec

TASKS = ("segmentation",)
PAPER = {
    "input": [3, 384, 384],
    "classes": 1000,
    "options": {"backbone": "vgg", "window": 224},
    "parameters": 138_357_544,
}
LEVELS = ()
SMALL = {"size": 48, "options": {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}, "window": 32}}
PAINTS = ("bilinear", "receptive_field")


def build(
    spec: Spec,
    *,
    backbone: str = "vgg",
    backbone_options: dict[str, Any] | None = None,
    window: int | None = None,
    paint: str = "bilinear",
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    backbone: a classifier in pipeline/models · window: side in pixels of the region that it classifies, the size of its
    own job; by default the whole image · paint: `bilinear` interpolates between the centres of windows,
    `receptive_field` gives a pixel the mean over all windows that contain it.
    """
    if paint not in PAINTS:
        raise UserError(f"options.paint: {plugins.unknown('paint', paint, PAINTS)}")
    return Heatmap(build_sliding(spec, backbone, backbone_options, window), paint)


class Heatmap(nn.Module):
    """A classifier of windows `stride` pixels apart, and upsampling to the image's size."""

    def __init__(self, body: Sliding, paint: str) -> None:
        super().__init__()
        self.body, self.paint = body, paint

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W → logits B×K×H×W."""
        height, width = images.shape[2:]
        cells = self.body(self.body.pad_border(images))
        if self.paint == "receptive_field":
            before = (self.body.window - self.body.stride) // 2
            return self._spread(cells)[..., before : before + height, before : before + width]
        sides = [self.body.stride * side for side in cells.shape[2:]]
        return F.interpolate(cells, sides, mode="bilinear")[..., :height, :width]

    def _spread(self, cells: Tensor) -> Tensor:
        """Each pixel's mean over the cells whose windows contain it."""
        window = cells.new_ones(cells.shape[1], 1, self.body.window, self.body.window)
        sums, counts = (
            F.conv_transpose2d(values, window, stride=self.body.stride, groups=cells.shape[1])
            for values in (cells, torch.ones_like(cells))
        )
        return sums / counts
