"""Faster R-CNN: one network proposes boxes and classifies them.

Ren, He, Girshick, Sun: Faster R-CNN, NIPS 2015, https://arxiv.org/abs/1506.01497, with the feature pyramid of Lin et
al., CVPR 2017, https://arxiv.org/abs/1612.03144. Published: 73.2 mAP on VOC 2007 (VGG-16, trained on 07+12), and on
COCO 37.0 mAP with ResNet-50 and the pyramid (torchvision's weights).

Promise: at PAPER's settings it has the published network's 137,078,239 parameters for 21 classes with background:
VGG-16 with its own fully connected layers as head, one feature map, nine anchors per position with two scores each.
(RoIAlign interpolates between pixels; the paper rounds.) With `backbone: resnet, depth: 50` it is torchvision's
fasterrcnn_resnet50_fpn: 41,755,286 parameters for 91 classes (torchvision trains 41,532,886 of them, as it freezes the
first layers; normalisation is frozen in both), its weights load by name and its detections agree. Any classifier in
pipeline/models can be the backbone.
"""

from collections import OrderedDict
from collections.abc import Sequence
from math import isqrt
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import features, level_shapes
from pipeline.models.parts.layers import drop_unused, levels_of
from pipeline.models.parts.rcnn import CELLS, Ready, freeze_norm
from pipeline.models.parts.rcnn import trace as trace
from pipeline.models.parts.spec import Spec, anatomy, build_network

TASKS = ("detection",)
PAPER = {
    "input": [3, 600, 600],
    "classes": 20,
    "options": {
        "backbone": "vgg",
        "backbone_options": {"config": "D"},
        "levels": ["features.conv5"],
        "pyramid": False,
        "head": "backbone",
        "objectness": "softmax",
    },
    "parameters": 137_078_239,
}
LEVELS = ()

HEADS, OBJECTNESS = ("new", "backbone"), ("sigmoid", "softmax")
ASPECTS = (0.5, 1.0, 2.0)
#: side of the smallest anchor in strides of its feature map
ANCHOR = 8


def build(
    spec: Spec,
    *,
    backbone: str = "resnet",
    backbone_options: dict[str, Any] | None = None,
    levels: Sequence[str] | None = None,
    pyramid: bool = True,
    frozen_norm: bool = False,
    width: int = 256,
    head: str = "new",
    head_width: int = 1024,
    anchors: Sequence[float] | None = None,
    objectness: str = "sigmoid",
    proposals: int = 1000,
    samples: int = 512,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S → per image a dict of boxes N×4 in pixels, labels N and scores N; with targets: losses by name.

    backbone: a classifier in pipeline/models, backbone_options: of its `build` · levels: those that are used; all,
    without a pyramid the last · pyramid: merge the levels from coarse to fine into `width` channels each, and add a
    coarser level · frozen_norm: keep the backbone's loaded batch normalisation fixed, for a pretrained backbone and
    small batches · head: `new`, two layers of `head_width`, or `backbone`, its own fully connected layers · anchors:
    sides in pixels, one per level of the pyramid, or any number for the one level; by default 8 strides, and 8, 16 and
    32 strides of the one level · objectness: `sigmoid` predicts one logit per anchor, `softmax` two (background,
    object) · proposals: per image, twice as many in training, where `samples` of them are sampled · detections:
    maximum per image.
    """
    for option, value, choices in (("head", head, HEADS), ("objectness", objectness, OBJECTNESS)):
        if value not in choices:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, choices)}")
    dense = head == "backbone"
    body, levels_used = build_trunk(spec, backbone, backbone_options or {}, levels, last_only=not pyramid, dense=dense)
    shapes = level_shapes(body, levels_used, spec.channels, spec.size)
    extractor = Backbone(body, shapes, width if pyramid else None)
    if frozen_norm:
        freeze_norm(extractor)
    roi_names = [str(number) for number in range(len(levels_used))]
    generator = _anchors([stride for _, stride in shapes.values()], pyramid, anchors)
    dense_layers = Hidden(body, extractor.out_channels) if dense else None
    cells, hidden_width = (CELLS, head_width) if dense_layers is None else (dense_layers.cells, dense_layers.width)
    network = FasterRCNN(
        extractor,
        rpn_anchor_generator=generator,
        rpn_head=TwoScores(extractor.out_channels, *generator.num_anchors_per_location()[:1])
        if objectness == "softmax"
        else None,
        rpn_pre_nms_top_n_train=2 * proposals,
        rpn_pre_nms_top_n_test=proposals,
        rpn_post_nms_top_n_train=2 * proposals,
        rpn_post_nms_top_n_test=proposals,
        box_roi_pool=MultiScaleRoIAlign(roi_names, output_size=cells, sampling_ratio=2),
        box_head=dense_layers or TwoMLPHead(extractor.out_channels * cells**2, head_width),
        box_predictor=FastRCNNPredictor(hidden_width, spec.classes + 1),
        box_batch_size_per_image=samples,
        box_detections_per_img=detections,
    )
    network.transform = Ready()
    return network


class Backbone(nn.Module):
    """A classifier's feature maps by number, fine to coarse; with `width` a feature pyramid of them."""

    def __init__(self, body: nn.Module, shapes: dict[str, tuple[int, int]], width: int | None) -> None:
        super().__init__()
        self.body, self.levels = body, tuple(shapes)
        channels = [count for count, _ in shapes.values()]
        self.fpn = None if width is None else FeaturePyramidNetwork(channels, width, LastLevelMaxPool())
        self.out_channels = channels[-1] if width is None else width

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """B×C×S×S → feature maps B×width×H×W."""
        outputs = features(self.body, images, self.levels).values()
        feature_maps = OrderedDict((str(number), output) for number, output in enumerate(outputs))
        return feature_maps if self.fpn is None else self.fpn(feature_maps)


class TwoScores(RPNHead):
    """Predicts two logits per anchor (background, object), as the paper does.

    It returns their difference, whose sigmoid is the softmax probability of an object.
    """

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__(channels, anchors)
        cls_logits = nn.Conv2d(channels, 2 * anchors, 1)
        for parameter, std in zip(cls_logits.parameters(), (0.01, 0.0), strict=True):
            nn.init.normal_(parameter, std=std)
        self.cls_logits = cls_logits

    def forward(self, feature_maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Feature maps B×C×H×W → logits B×A×H×W and deltas B×4A×H×W of A anchors per position."""
        logits, deltas = super().forward(feature_maps)
        pairs = (level.chunk(2, 1) for level in logits)
        return [foreground - background for background, foreground in pairs], deltas


class Hidden(nn.Module):
    """A classifier's own fully connected layers as the box head; they stay registered in the classifier.

    cells: side in cells of the feature map that they read · width: number of outputs.
    """

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self._of = (body, hidden_part_name(body))  # in a tuple, so that the layers are registered once
        layers = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        self.cells, self.width = isqrt(layers[0].in_features // channels), layers[-1].out_features
        if layers[0].in_features != channels * self.cells**2:
            raise UserError("options.head: the backbone's fully connected layers read another level; choose its last")

    @property
    def layers(self) -> Any:
        """The layers in the classifier."""
        body, part = self._of
        return body.get_submodule(part)

    def forward(self, pooled: Tensor) -> Tensor:
        """R×C×cells×cells → R×width."""
        hidden: Tensor = self.layers(pooled.flatten(1))
        return hidden


def build_trunk(
    spec: Spec,
    backbone: str,
    options: dict[str, Any],
    levels: Sequence[str] | None,
    *,
    last_only: bool,
    dense: bool = False,
) -> tuple[nn.Module, tuple[str, ...]]:
    """A classifier without the layers that the used levels do not need, and the names of these levels.

    dense: keep the fully connected layers before the output as well; see `hidden_part_name`.
    """
    choices = levels_of(backbone, options)
    used = tuple(levels or choices)[-1 if last_only else 0 :]
    if set(used) - set(choices):
        raise UserError(f"options.levels: {list(used)} are not levels of {backbone}; use any of {list(choices)}")
    body = build_network(backbone, Spec("classification", spec.classes, spec.channels, spec.size), options)
    kept = list(body.get_submodule(hidden_part_name(body)).named_children())[:-1] if dense else []
    if dense and not (hidden_part_name(body) and any(isinstance(layer, nn.Linear) for _, layer in kept)):
        raise UserError(f"options.head: {backbone} has no fully connected layers before its output; use `new`")
    drop_unused(body, used, spec.channels, spec.size)
    if dense:
        body.set_submodule(hidden_part_name(body), nn.Sequential(OrderedDict(kept)))
    return body, used


def hidden_part_name(body: nn.Module) -> str:
    """Name of the submodule whose last layer is the classifier's output; empty if the output is in none."""
    return (anatomy(body).head or "").rpartition(".")[0]


def _anchors(strides: list[int], pyramid: bool, sides: Sequence[float] | None) -> AnchorGenerator:
    if not pyramid:
        sizes = [tuple(sides or (ANCHOR * strides[-1] * factor for factor in (1, 2, 4)))]
    else:
        strides = [*strides, 2 * strides[-1]]
        sizes = [(side,) for side in sides or (ANCHOR * stride for stride in strides)]
        if len(sizes) != len(strides):
            raise UserError(f"options.anchors: {len(sizes)} sides for {len(strides)} levels; give one per level")
    return AnchorGenerator(tuple(sizes), (ASPECTS,) * len(sizes))
