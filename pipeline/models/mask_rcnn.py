"""Mask R-CNN: Faster R-CNN that also predicts the mask or the keypoints of each detection.

He, Gkioxari, Dollár, Girshick: Mask R-CNN, ICCV 2017, https://arxiv.org/abs/1703.06870. Published: 35.7 mask mAP on
COCO with ResNet-101 and a pyramid; torchvision's ResNet-50 has 37.9 box and 34.6 mask mAP. Keypoint mAP with
ResNet-50: 62.7 published, 65.0 torchvision's.

Promise: with `backbone: resnet, depth: 50` it is torchvision's maskrcnn_resnet50_fpn: 44,401,393 parameters for 91
classes with background, 2,646,107 of them in the mask head, its weights load by name and its detections agree. For
the task keypoint_detection it is torchvision's keypointrcnn_resnet50_fpn in the same way: 59,137,258 parameters for 2
classes with background and 17 keypoints. Each keypoint has a heatmap, trained by softmax over its cells with one true
cell.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from pipeline.models import faster_rcnn
from pipeline.models.parts.rcnn import INSTANCE_CELLS, trace_instances
from pipeline.models.parts.spec import Spec

TASKS = ("instance_segmentation", "keypoint_detection")
PAPER = {
    "input": [3, 800, 800],
    "classes": 90,
    "options": {"backbone": "resnet", "backbone_options": {"depth": 50}, "frozen_norm": True},
    "parameters": 44_401_393,
}
LEVELS = ()
SMALL = {
    "size": 64,
    "options": {
        "backbone_options": {"width": 8},
        "width": 16,
        "head_width": 32,
        "proposals": 50,
        "mask_width": 8,
        "mask_layers": 2,
        "keypoint_width": 8,
        "keypoint_layers": 2,
    },
}


def build(
    spec: Spec,
    *,
    backbone: str = "resnet",
    backbone_options: dict[str, Any] | None = None,
    levels: Sequence[str] | None = None,
    pyramid: bool = True,
    frozen_norm: bool = False,
    width: int = 256,
    head_width: int = 1024,
    anchors: Sequence[float] | None = None,
    proposals: int = 1000,
    samples: int = 512,
    detections: int = 100,
    mask_width: int = 256,
    mask_layers: int = 4,
    keypoint_width: int = 512,
    keypoint_layers: int = 8,
) -> nn.Module:
    """Images B×C×S×S → per image a dict as faster_rcnn's with masks or keypoints; with targets: losses by name.

    It holds masks N×1×28×28 within the boxes or, for keypoint_detection, keypoints N×K×3 (x, y and 1) and
    keypoints_scores N×K. mask_width, mask_layers: channels and 3×3 convolutions of the mask head · keypoint_width,
    keypoint_layers: those of the keypoint head · the other options: as in faster_rcnn.
    """
    network: Any = faster_rcnn.build(
        spec,
        backbone=backbone,
        backbone_options=backbone_options,
        levels=levels,
        pyramid=pyramid,
        frozen_norm=frozen_norm,
        width=width,
        head_width=head_width,
        anchors=anchors,
        proposals=proposals,
        samples=samples,
        detections=detections,
    )
    heads = network.roi_heads
    pool = MultiScaleRoIAlign(heads.box_roi_pool.featmap_names, output_size=INSTANCE_CELLS, sampling_ratio=2)
    if spec.task == "keypoint_detection":
        heads.keypoint_roi_pool = pool
        heads.keypoint_head = KeypointRCNNHeads(network.backbone.out_channels, (keypoint_width,) * keypoint_layers)
        heads.keypoint_predictor = _KeypointPredictor(keypoint_width, spec.keypoints)
        return network
    heads.mask_roi_pool = pool
    heads.mask_head = MaskRCNNHeads(network.backbone.out_channels, (mask_width,) * mask_layers, 1)
    heads.mask_predictor = MaskRCNNPredictor(mask_width, mask_width, spec.classes + 1)
    return network


class _KeypointPredictor(KeypointRCNNPredictor):
    """Heatmaps that are contiguous in memory, as torchvision's loss needs; on CUDA the network's output is not."""

    def forward(self, x: Tensor) -> Tensor:
        """Features N×C×14×14 → logits N×K×56×56."""
        return super().forward(x).contiguous()


def trace(network: Any, images: Tensor) -> dict[str, list[Tensor]]:
    """One pass for counting: the most proposals and detections, each the whole image."""
    return trace_instances(network, images)
