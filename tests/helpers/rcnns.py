"""Small Faster and Mask R-CNNs, and torchvision's with the same weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from pipeline.models.parts.spec import Spec

SIDE = 96
SMALL: dict[str, Any] = {
    "backbone_options": {"width": 8},
    "width": 16,
    "head_width": 32,
    "anchors": [8, 16, 24, 32, 48],
    "proposals": 20,
    "samples": 16,
}
TARGETS = [
    {"boxes": torch.tensor([[10.0, 10, 50, 40], [60, 50, 90, 90]]), "labels": torch.tensor([0, 3])},
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
]
USES = {"train": 40, "test": 20}
LOSSES = {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}


def images(number: int = 2, channels: int = 3) -> Tensor:
    return torch.rand(number, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def pair(module: Any, kind: Any, spec: Spec) -> tuple[Any, Any]:
    """Ours and torchvision's, of five classes with background, on ResNet-18 with the same weights; few proposals."""
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    few = {f"rpn_{when}_nms_top_n_{use}": number for when in ("pre", "post") for use, number in USES.items()}
    ready = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    limits = {"box_score_thresh": 0.01, "box_detections_per_img": 5, "box_batch_size_per_image": 32}
    other = kind(backbone, num_classes=5, **few, **ready, **limits)
    other.transform.resize = lambda image, target: (image, target)
    ours = module.build(spec, frozen_norm=True, proposals=USES["test"], samples=32)
    ours.roi_heads.score_thresh, ours.roi_heads.detections_per_img = 0.01, 5
    ours.load_state_dict(other.state_dict())
    return ours, other


def same_state(ours: nn.Module, other: nn.Module) -> None:
    """Names and shapes of all weights and buffers agree."""
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (ours, other)]
    assert shapes[0] == shapes[1]
