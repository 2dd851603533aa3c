"""Shared code of the three fully convolutional networks: see fcn32s, fcn16s and fcn8s."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models.parts.convolutionalize import Sliding, build_sliding
from pipeline.models.parts.feature_maps import features, level_shapes
from pipeline.models.parts.layers import centre
from pipeline.models.parts.spec import Spec, anatomy

#: stride in pixels of the coarsest feature map; windows are multiples of it
COARSE = 32
#: with `at_once`, factor of the feature maps of a stride before they are scored, so that their scores do not dominate
SCALES = {16: 1e-2, 8: 1e-4}


def build(
    spec: Spec,
    finest: int,
    backbone: str,
    backbone_options: dict[str, Any] | None,
    window: int | None,
    learn_upsampling: bool,
    at_once: bool = False,
) -> nn.Module:
    """Build the network whose finest skip has a stride of `finest` pixels; with 32 it has no skip."""
    body = build_sliding(spec, backbone, backbone_options, window or min(224, spec.size // COARSE * COARSE), COARSE)
    if body.stride != COARSE:
        raise UserError(f"options.backbone: {backbone} has a stride of {body.stride}; FCN needs a stride of {COARSE}")
    parts = anatomy(body.network)
    if parts.head is None:
        raise UserError(f"options.backbone: {backbone} has no HEAD; choose a classifier that has one")
    for parameter in body.network.get_submodule(parts.head).parameters():
        nn.init.zeros_(parameter)
    shapes = level_shapes(body.network, parts.levels, spec.channels, body.window)
    skips = []
    for stride in (stride for stride in (16, 8) if stride >= finest):
        levels = [level for level in parts.levels if shapes[level][1] == stride]
        if not levels:
            raise UserError(f"options.backbone: {backbone} has no level with a stride of {stride}; choose another")
        skips.append((levels[0], shapes[levels[0]][0]))
    scales = [SCALES[stride] if at_once else 1.0 for stride in (16, 8)]
    return FCN(body, skips, scales, spec.classes, finest, learn_upsampling)


class FCN(nn.Module):
    """Scores of a sliding classifier plus scores of finer feature maps, upsampled to the image's size."""

    def __init__(
        self,
        body: Sliding,
        skips: Sequence[tuple[str, int]],
        scales: Sequence[float],
        classes: int,
        finest: int,
        learn: bool,
    ) -> None:
        super().__init__()
        self.body = body
        self.levels, self.scales = tuple(level for level, _ in skips), tuple(scales)
        self.scores = nn.ModuleList(nn.Conv2d(channels, classes, 1) for _, channels in skips)
        for score in self.scores:
            for parameter in score.parameters():
                nn.init.zeros_(parameter)
        self.doubled = nn.ModuleList(Enlarge(classes, 2, learn=learn) for _ in skips)
        self.last = Enlarge(classes, finest, learn=False)

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W → logits B×K×H×W."""
        outputs = features(self.body.network, self.body.pad_border(images), (*self.levels, ""))
        logits = outputs[""]
        for level, scale, score, double in zip(self.levels, self.scales, self.scores, self.doubled, strict=False):
            logits = double(logits)
            logits = logits + centre(score(outputs[level] * scale), logits)
        return self.last(logits)[..., : images.shape[2], : images.shape[3]]


class Enlarge(nn.Module):
    """Depthwise transposed convolution initialised as bilinear upsampling: B×K×H×W → B×K×fH×fW."""

    weight: Tensor

    def __init__(self, channels: int, factor: int, *, learn: bool) -> None:
        super().__init__()
        self.factor, self.learn = factor, learn
        positions = (torch.arange(2 * factor) + 0.5) / factor - 1
        line = 1 - positions.abs()
        weight = torch.outer(line, line).expand(channels, 1, -1, -1).clone()
        if learn:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight, persistent=False)

    def forward(self, scores: Tensor) -> Tensor:
        """B×K×H×W → B×K×fH×fW; cell i is centred on the i-th group of `factor` pixels."""
        half = self.factor // 2
        return F.conv_transpose2d(scores, self.weight, stride=self.factor, padding=half, groups=scores.shape[1])
