"""CAM: a classifier whose last layer gives one class activation map per class, which localizes the class.

Zhou, Khosla, Lapedriza, Oliva, Torralba: Learning Deep Features for Discriminative Localization, CVPR 2016,
https://arxiv.org/abs/1512.04150. Published: ILSVRC top-5 localization error 37.1 % without a box in training, 45.14 %
for VGGnet-GAP.

A 3×3 convolution follows a level of any classifier in pipeline/models; the paper averages its feature maps and applies
a linear layer. Both operations are linear, so here the linear layer comes first, as a 1×1 convolution: the class
activation maps are the network's last layer, and their means are the logits.

Promise: on 512 channels, with the released `group: 2` and without bias in the class layer, the layers behind the level
have 3,384,320 parameters for 1000 classes: the published VGG16-CAM, 18,099,008, minus the 14,714,688 of VGG-16's
convolutions. PAPER puts the same layers on ResNet-18, whose last level has 512 channels too; that sum is not
published.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import features, level_shapes
from pipeline.models.parts.layers import backbone as make_backbone
from pipeline.models.parts.layers import he_normal, levels_of
from pipeline.models.parts.spec import Spec

TASKS = ("localization",)
PAPER = {
    "input": [3, 224, 224],
    "classes": 1000,
    "options": {"backbone": "resnet", "backbone_options": {"depth": 18}, "group": 2},
    "parameters": 14_560_832,
}
SMALL = {
    "size": 32,
    "options": {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}, "width": 8},
}


def build(
    spec: Spec,
    *,
    backbone: str = "resnet",
    backbone_options: dict[str, Any] | None = None,
    level: str | None = None,
    width: int = 1024,
    group: int = 1,
) -> nn.Module:
    """Images B×C×S×S → {"logits": B×K, "maps": B×K×h×w}; the means of the maps are the logits.

    backbone_options: of the backbone's `build` · level: one of the backbone's, by default its last; an earlier
    one gives finer maps · width: channels of the 3×3 convolution · group: its groups.
    """
    level = level or levels_of(backbone, backbone_options)[-1]
    body = make_backbone(backbone, spec, backbone_options or {}, [level])
    channels, _ = level_shapes(body, [level], spec.channels, spec.size)[level]
    if channels % group or width % group:
        raise UserError(f"options.group: {group} must divide the {channels} channels of {level} and width {width}")
    return CAM(body, level, nn.Conv2d(channels, width, 3, padding=1, groups=group), spec.classes)


class CAM(nn.Module):
    """A backbone up to a level, one convolution, and an activation map per class."""

    def __init__(self, backbone: nn.Module, level: str, conv: nn.Conv2d, classes: int) -> None:
        super().__init__()
        self.backbone, self.level = backbone, level
        self.conv = conv
        self.maps = nn.Conv2d(conv.out_channels, classes, 1, bias=False)
        he_normal(conv)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """B×C×S×S → logits B×K and the class activation maps B×K×h×w whose means they are."""
        feature_map = features(self.backbone, images, [self.level])[self.level]
        activation_maps = self.maps(F.relu(self.conv(feature_map)))
        return {"logits": activation_maps.mean((2, 3)), "maps": activation_maps}
