"""Fast R-CNN: the backbone runs once per image, and a head classifies each proposal from pooled features.

Girshick: Fast R-CNN, ICCV 2015, https://arxiv.org/abs/1504.08083. Published: 66.9 mAP on VOC 2007 (VGG-16), 0.32 s per
image on a K40 without the 2 s of selective search.

Promise: with VGG-16's own fully connected layers as head (`head: backbone`) it has 134,690,729 parameters for 21
classes with background. Proposals are stored with the sample (pipeline/augment/derived/proposals.py); serving runs
selective search per image, and latency includes it. The paper's factorisation of the head's weights, which makes it
faster, is not implemented.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_pool

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.learners.base import Settings
from pipeline.learners.detector import Detector, Target
from pipeline.models.faster_rcnn import HEADS, Backbone, Hidden, build_trunk
from pipeline.models.parts.box_coding import (
    DELTA_STD,
    DetectionFilter,
    RoiSampler,
    SampledRois,
    box_loss,
    class_loss,
    decode_deltas,
    proposals_of,
    whole_image_proposals,
)
from pipeline.models.parts.feature_maps import level_shapes
from pipeline.models.parts.layers import he_normal
from pipeline.models.parts.rcnn import CELLS, freeze_norm
from pipeline.models.parts.spec import Spec

TASKS = ("detection",)
PAPER = {
    "input": [3, 600, 600],
    "classes": 20,
    "options": {
        "backbone": "vgg",
        "backbone_options": {"config": "D"},
        "level": "features.conv5",
        "head": "backbone",
    },
    "parameters": 134_690_729,
}
SMALL = {"size": 64, "options": {"backbone": "resnet", "backbone_options": {"width": 8}, "head_width": 32}}
LEVELS = ()
#: derived fields that the network reads beside the image
NEEDS = ("proposals",)


def build(
    spec: Spec,
    *,
    backbone: str = "vgg",
    backbone_options: dict[str, Any] | None = None,
    level: str | None = None,
    frozen_norm: bool = False,
    head: str = "new",
    head_width: int = 1024,
    samples: int = 64,
    positive_fraction: float = 0.25,
    background: float = 0.1,
    score: float = 0.05,
    overlap: float = 0.3,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S and proposals → per image a dict of boxes, labels and scores; with targets: losses by name.

    backbone: a classifier in pipeline/models, backbone_options: of its `build` · level: the one that is read; by
    default the last · frozen_norm: keep the loaded batch normalisation fixed · head: `new`, two layers of
    `head_width`, or `backbone`, its own fully connected layers · samples: proposals per image in training, at most
    `positive_fraction` of them positive · background: smallest IoU with an object of a negative; the largest is 0.5 ·
    score: smallest score of a detection · overlap: IoU above which two boxes of a class are duplicates · detections:
    maximum per image.
    """
    if head not in HEADS:
        raise UserError(f"options.head: {plugins.unknown('head', head, HEADS)}")
    levels, dense = None if level is None else [level], head == "backbone"
    body, levels_used = build_trunk(spec, backbone, backbone_options or {}, levels, last_only=True, dense=dense)
    shapes = level_shapes(body, levels_used, spec.channels, spec.size)
    if frozen_norm:
        freeze_norm(body)
    sampler, detection_filter = (
        RoiSampler(samples, positive_fraction, 0.5, background),
        DetectionFilter(score, overlap, detections),
    )
    extractor = Backbone(body, shapes, None)
    dense_layers = Hidden(body, extractor.out_channels) if dense else None
    stride = shapes[levels_used[0]][1]
    return FastRCNN(extractor, stride, dense_layers or head_width, spec.classes, sampler, detection_filter)


class FastRCNN(nn.Module):
    """One feature map, RoI pooling of each proposal, two hidden layers, outputs for class logits and box deltas."""

    def __init__(
        self,
        backbone: Backbone,
        stride: int,
        head: Hidden | int,
        classes: int,
        sampler: RoiSampler,
        detection_filter: DetectionFilter,
    ) -> None:
        """head: the backbone's own layers, or the width of a new head."""
        super().__init__()
        self.backbone, self.stride, self.classes = backbone, stride, classes
        self.sampler, self.detection_filter = sampler, detection_filter
        self.box_head: nn.Module
        if isinstance(head, Hidden):
            self.cells, width, self.box_head = head.cells, head.width, head
        else:
            self.cells, width = CELLS, head
            layers = [nn.Linear(backbone.out_channels * CELLS**2, width), nn.Linear(width, width)]
            self.box_head = he_normal(nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU()))
        self.cls_score, self.bbox_pred = nn.Linear(width, classes + 1), nn.Linear(width, 4 * (classes + 1))
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def predict(self, feature_map: Tensor, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Feature map B×C×H×W and R boxes in all → class logits R×(K+1) and deltas per class R×(K+1)×4."""
        hidden = self.box_head(roi_pool(feature_map, boxes, self.cells, 1 / self.stride))
        return self.cls_score(hidden), self.bbox_pred(hidden).view(len(hidden), -1, 4)

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Target] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> Any:
        """With targets, which hold proposals: losses by name. Without: detections, one dict per image."""
        boxes, size = proposals_of(targets, proposals), images.shape[-1]
        (feature_map,) = self.backbone(images).values()
        if targets is None:
            logits, deltas = (output.float() for output in self.predict(feature_map, boxes))
            decoded = decode_deltas(deltas * deltas.new_tensor(DELTA_STD), torch.cat(boxes))[:, :-1]
            counts = [len(item) for item in boxes]
            per_image = zip(decoded.split(counts), logits.softmax(1)[:, :-1].split(counts), strict=True)
            return [self.detection_filter.select(*item, size) for item in per_image]
        sampled = [self.sampler.sample(*pair, self.classes) for pair in zip(boxes, targets, strict=True)]
        logits, deltas = self.predict(feature_map, [item.boxes for item in sampled])
        rois = SampledRois(*(torch.cat(field) for field in zip(*sampled, strict=True)))
        return {"class": class_loss(logits, rois.labels), "box": box_loss(deltas.float()[:, :-1], rois)}


class WeightedLosses(Detector):
    """A detector whose losses are multiplied by weights."""

    def __init__(self, network: nn.Module, settings: Settings, weights: dict[str, float]) -> None:
        super().__init__(network, settings)
        self.weights = weights

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: detections per image."""
        outputs = super().forward(images, targets, phase)
        return outputs if targets is None else {name: self.weights[name] * loss for name, loss in outputs.items()}


def learner(
    network: nn.Module, settings: Settings, *, box_weight: float = 1.0, convex: float | None = None
) -> Detector:
    """The loss is class + box_weight · box; or, with `convex`, (1 − convex) · class + convex · box."""
    if convex is not None and (box_weight != 1 or not 0 <= convex <= 1):
        raise UserError(f"loss.convex: {convex}, beside box_weight {box_weight}; give one of them, convex in 0..1")
    weights = {"class": 1.0, "box": box_weight} if convex is None else {"class": 1 - convex, "box": convex}
    return WeightedLosses(network, settings, weights)


def trace(network: FastRCNN, images: Tensor) -> list[Tensor]:
    """One pass for counting: an image with 2,000 proposals, each the whole image."""
    (feature_map,) = network.backbone(images).values()
    whole = whole_image_proposals(images)
    return list(network.predict(feature_map, [whole, *[whole[:0]] * (len(images) - 1)]))
