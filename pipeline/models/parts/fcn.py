"""What the three fully convolutional networks share: see fcn32s, fcn16s and fcn8s."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models.parts.convolutionalize import Sliding, sliding
from pipeline.models.parts.feature_maps import features, stage_shapes
from pipeline.models.parts.layers import centre
from pipeline.models.parts.spec import Spec, anatomy

#: pixels a cell of the coarsest map; windows are multiples of it
COARSE = 32
#: what `at_once` multiplies the maps of a stride by before they are scored, so that their scores do not drown others
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
    """The network whose finest skip has a stride of `finest` pixels; at 32 it has none."""
    body = sliding(spec, backbone, backbone_options, window or min(224, spec.size // COARSE * COARSE), COARSE)
    if body.stride != COARSE:
        raise UserError(f"options.backbone: {backbone} has a stride of {body.stride}, and FCN one of {COARSE}")
    known = anatomy(body.network)
    if known.head is None:
        raise UserError(f"options.backbone: {backbone} has no HEAD. Choose a classifier that has.")
    for parameter in body.network.get_submodule(known.head).parameters():
        nn.init.zeros_(parameter)
    shapes = stage_shapes(body.network, known.stages, spec.channels, body.window)
    skips = []
    for stride in (stride for stride in (16, 8) if stride >= finest):
        fitting = [stage for stage in known.stages if shapes[stage][1] == stride]
        if not fitting:
            raise UserError(f"options.backbone: {backbone} has no stage with a stride of {stride}")
        skips.append((fitting[0], shapes[fitting[0]][0]))
    scales = [SCALES[stride] if at_once else 1.0 for stride in (16, 8)]
    return FCN(body, skips, scales, spec.classes, finest, learn_upsampling)


class FCN(nn.Module):
    """Scores of a sliding classifier, summed with scores of finer maps, and enlarged to the image."""

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
        self.stages, self.scales = tuple(stage for stage, _ in skips), tuple(scales)
        self.scores = nn.ModuleList(nn.Conv2d(channels, classes, 1) for _, channels in skips)
        for score in self.scores:
            for parameter in score.parameters():
                nn.init.zeros_(parameter)
        self.doubled = nn.ModuleList(Enlarge(classes, 2, learn=learn) for _ in skips)
        self.last = Enlarge(classes, finest, learn=False)

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W → logits B×K×H×W."""
        found = features(self.body.network, self.body.bordered(images), (*self.stages, ""))
        logits = found[""]
        for stage, scale, score, double in zip(self.stages, self.scales, self.scores, self.doubled, strict=False):
            logits = double(logits)
            logits = logits + centre(score(found[stage] * scale), logits)
        return self.last(logits)[..., : images.shape[2], : images.shape[3]]


class Enlarge(nn.Module):
    """A transposed convolution of each map with itself that starts as bilinear: B×K×H×W → B×K×fH×fW."""

    weight: Tensor

    def __init__(self, maps: int, factor: int, *, learn: bool) -> None:
        super().__init__()
        self.factor, self.learn = factor, learn
        places = (torch.arange(2 * factor) + 0.5) / factor - 1
        line = 1 - places.abs()
        weight = torch.outer(line, line).expand(maps, 1, -1, -1).clone()
        if learn:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Cell i is centred on the i-th `factor` pixels."""
        half = self.factor // 2
        return F.conv_transpose2d(maps, self.weight, stride=self.factor, padding=half, groups=maps.shape[1])

    def parameter_formula(self) -> int:
        """A window a map, if it is learnt."""
        return self.learn * self.weight.shape[0] * (2 * self.factor) ** 2
