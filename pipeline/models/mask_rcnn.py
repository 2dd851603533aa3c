"""Mask R-CNN: Faster R-CNN that also outlines what it finds, or says where its key points are (a person's: pose).

He, Gkioxari, Dollár, Girshick: Mask R-CNN, ICCV 2017, https://arxiv.org/abs/1703.06870. Published: 35.7 mask mAP on
COCO with ResNet-101 and a pyramid; torchvision's ResNet-50 has 37.9 box and 34.6 mask mAP. Of key points, with
ResNet-50: 62.7 keypoint mAP published, 65.0 torchvision's.

Promise: with `backbone: resnet, depth: 50` it is torchvision's maskrcnn_resnet50_fpn: 44,401,393 parameters for 91
classes with background, 2,646,107 of them in the mask head, its weights load by name and its detections agree. For
the task keypoint_detection it is torchvision's keypointrcnn_resnet50_fpn in the same way: 59,137,258 parameters for 2
classes with background and 17 points. One heat map a point is learnt with one cell right, by softmax over all cells.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from pipeline.models import faster_rcnn
from pipeline.models.parts.rcnn import INSTANCE_CELLS
from pipeline.models.parts.spec import Spec

TASKS = ("instance_segmentation", "keypoint_detection")
PAPER = {
    "input": [3, 800, 800],
    "classes": 90,
    "options": {"backbone": "resnet", "backbone_options": {"depth": 50}, "frozen_norm": True},
    "parameters": 44_401_393,
}
STAGES = ()


def build(
    spec: Spec,
    *,
    backbone: str = "resnet",
    backbone_options: dict[str, Any] | None = None,
    stages: Sequence[str] | None = None,
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
    """Images B×C×S×S → a dict an image; with targets: losses by name.

    It has masks N×1×28×28 within the boxes or, for keypoint_detection, keypoints N×K×3 (x, y and 1) and their
    keypoints_scores N×K. mask_width, mask_layers: channels and 3×3 convolutions of the mask head · keypoint_width,
    keypoint_layers: those of the keypoint head · the others are those of faster_rcnn.
    """
    network: Any = faster_rcnn.build(
        spec,
        backbone=backbone,
        backbone_options=backbone_options,
        stages=stages,
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
        heads.keypoint_predictor = _Points(keypoint_width, spec.points)
        return network
    heads.mask_roi_pool = pool
    heads.mask_head = MaskRCNNHeads(network.backbone.out_channels, (mask_width,) * mask_layers, 1)
    heads.mask_predictor = MaskRCNNPredictor(mask_width, mask_width, spec.classes + 1)
    return network


class _Points(KeypointRCNNPredictor):
    """Maps of points in the order of memory that torchvision's loss wants, which on CUDA is not the network's own."""

    def forward(self, x: Tensor) -> Tensor:
        """Features N×C×14×14 → logits N×K×56×56."""
        return super().forward(x).contiguous()
