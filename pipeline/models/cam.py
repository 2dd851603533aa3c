"""CAM: a classifier whose last layer is one map a class, so that it shows where it looks.

Zhou, Khosla, Lapedriza, Oliva, Torralba: Learning Deep Features for Discriminative Localization, CVPR 2016,
https://arxiv.org/abs/1512.04150. Published: ILSVRC top-5 localization error 37.1 % without a box in training, 45.14 %
for VGGnet-GAP.

A 3×3 convolution follows a stage of any classifier of this folder; its maps are averaged and weighed by class. Both
are linear, so the maps are weighed here before they are averaged: the class activation maps are then the network's
last layer, and their means its logits.

Promise: on 512 channels, with the released `group: 2` and no bias at the classes, what follows the stage has
3,384,320 parameters for 1000 classes: the published VGG16-CAM, 18,099,008, less the 14,714,688 of VGG-16's
convolutions. PAPER puts the same layers on ResNet-18, whose last stage has 512 channels too; that sum is not printed
anywhere.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import features, stage_shapes
from pipeline.models.parts.layers import backbone as make_backbone
from pipeline.models.parts.layers import he_normal, stages_of
from pipeline.models.parts.spec import Spec

TASKS = ("localization",)
PAPER = {
    "input": [3, 224, 224],
    "classes": 1000,
    "options": {"backbone": "resnet", "backbone_options": {"depth": 18}, "group": 2},
    "parameters": 14_560_832,
}


def build(
    spec: Spec,
    *,
    backbone: str = "resnet",
    backbone_options: dict[str, Any] | None = None,
    stage: str | None = None,
    width: int = 1024,
    group: int = 1,
) -> nn.Module:
    """Images B×C×S×S → {"logits": B×K, "maps": B×K×h×w}, whose means are the logits.

    backbone_options: of the backbone's own build · stage: one of the backbone's, by default its last; an earlier one
    gives finer maps · width: channels of the 3×3 convolution · group: its groups.
    """
    stage = stage or stages_of(backbone, backbone_options)[-1]
    body = make_backbone(backbone, spec, backbone_options or {}, [stage])
    channels, _ = stage_shapes(body, [stage], spec.channels, spec.size)[stage]
    if channels % group or width % group:
        raise UserError(f"options.group: {group} must divide the {channels} channels of {stage} and width {width}.")
    return CAM(body, stage, nn.Conv2d(channels, width, 3, padding=1, groups=group), spec.classes)


class CAM(nn.Module):
    """A backbone up to a stage, one convolution, and a map for each class."""

    def __init__(self, backbone: nn.Module, stage: str, conv: nn.Conv2d, classes: int) -> None:
        super().__init__()
        self.backbone, self.stage = backbone, stage
        self.conv = conv
        self.maps = nn.Conv2d(conv.out_channels, classes, 1, bias=False)
        he_normal(conv)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """B×C×S×S → logits B×K and, as they are averaged to these, maps B×K×h×w."""
        found = features(self.backbone, images, [self.stage])[self.stage]
        maps = self.maps(F.relu(self.conv(found)))
        return {"logits": maps.mean((2, 3)), "maps": maps}
