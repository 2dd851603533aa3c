"""Faster R-CNN: one network proposes boxes and says what is in them.

Ren, He, Girshick, Sun: Faster R-CNN, NIPS 2015, https://arxiv.org/abs/1506.01497, with the feature pyramid of Lin et
al., CVPR 2017, https://arxiv.org/abs/1612.03144. Published: 73.2 mAP on VOC 2007 (VGG-16, trained on 07+12), and on
COCO 37.0 mAP with ResNet-50 and the pyramid (torchvision's weights).

Promise: at PAPER's settings it has the published network's 137,078,239 parameters for 21 classes with background:
VGG-16 with its own fully connected layers as head, one map, nine anchors a place of two scores each. (What is in a
proposal is read between pixels, by RoIAlign; the paper rounds.) With `backbone: resnet, depth: 50` it is torchvision's
fasterrcnn_resnet50_fpn: 41,755,286 parameters for 91 classes (41,532,886 of them trained there, where the first layers
stay as they are; normalisation is frozen in both), its weights load by name and its detections agree. Any classifier of
this folder can be the backbone.
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
from pipeline.models.parts.feature_maps import features, stage_shapes
from pipeline.models.parts.layers import drop_unused, stages_of
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
        "stages": ["features.conv5"],
        "pyramid": False,
        "head": "backbone",
        "objectness": "softmax",
    },
    "parameters": 137_078_239,
}
STAGES = ()

HEADS, OBJECTNESS = ("new", "backbone"), ("sigmoid", "softmax")
ASPECTS = (0.5, 1.0, 2.0)
#: side of the smallest anchor in strides of its map
ANCHOR = 8


def build(
    spec: Spec,
    *,
    backbone: str = "resnet",
    backbone_options: dict[str, Any] | None = None,
    stages: Sequence[str] | None = None,
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
    """Images B×C×S×S → a dict an image with boxes N×4 in pixels, labels N and scores N; with targets: losses by name.

    backbone: a classifier of this folder, backbone_options those of its build · stages: which of its maps are used;
    all, without a pyramid the last · pyramid: the maps are merged from coarse to fine, into `width` channels each,
    and one coarser is added · frozen_norm: the backbone's batch normalisation stays as it was loaded, which a
    pretrained one needs where batches are small · head: two `new` layers of `head_width` judge a proposal, or the
    `backbone`'s own fully connected ones · anchors: sides in pixels, one a map of the pyramid or any number for the one
    map; by default 8 strides, and 8, 16, 32 of the one map · objectness: of one score an anchor, or of two ·
    proposals: judged per image, twice as many in training, where `samples` of them are learnt from · detections: the
    most that an image gets.
    """
    for option, value, known in (("head", head, HEADS), ("objectness", objectness, OBJECTNESS)):
        if value not in known:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, known)}")
    dense = head == "backbone"
    body, used = trunk(spec, backbone, backbone_options or {}, stages, last_only=not pyramid, dense=dense)
    shapes = stage_shapes(body, used, spec.channels, spec.size)
    maps = Backbone(body, shapes, width if pyramid else None)
    if frozen_norm:
        freeze_norm(maps)
    roi_names = [str(number) for number in range(len(used))]
    generator = _anchors([stride for _, stride in shapes.values()], pyramid, anchors)
    own = Hidden(body, maps.out_channels) if dense else None
    cells, width_seen = (CELLS, head_width) if own is None else (own.cells, own.width)
    network = FasterRCNN(
        maps,
        rpn_anchor_generator=generator,
        rpn_head=TwoScores(maps.out_channels, *generator.num_anchors_per_location()[:1])
        if objectness == "softmax"
        else None,
        rpn_pre_nms_top_n_train=2 * proposals,
        rpn_pre_nms_top_n_test=proposals,
        rpn_post_nms_top_n_train=2 * proposals,
        rpn_post_nms_top_n_test=proposals,
        box_roi_pool=MultiScaleRoIAlign(roi_names, output_size=cells, sampling_ratio=2),
        box_head=own or TwoMLPHead(maps.out_channels * cells**2, head_width),
        box_predictor=FastRCNNPredictor(width_seen, spec.classes + 1),
        box_batch_size_per_image=samples,
        box_detections_per_img=detections,
    )
    network.transform = Ready()
    return network


class Backbone(nn.Module):
    """A classifier's maps by number, from fine to coarse, and a pyramid of them where `width` is given."""

    def __init__(self, body: nn.Module, shapes: dict[str, tuple[int, int]], width: int | None) -> None:
        super().__init__()
        self.body, self.stages = body, tuple(shapes)
        channels = [count for count, _ in shapes.values()]
        self.fpn = None if width is None else FeaturePyramidNetwork(channels, width, LastLevelMaxPool())
        self.out_channels = channels[-1] if width is None else width

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """B×C×S×S → maps B×width×H×W."""
        found = features(self.body, images, self.stages).values()
        maps = OrderedDict((str(number), found_map) for number, found_map in enumerate(found))
        return maps if self.fpn is None else self.fpn(maps)


class TwoScores(RPNHead):
    """Says of each anchor how much it looks like background and how much like a thing, as the paper has it.

    What it gives is their difference, of which the sigmoid is what softmax makes of the two.
    """

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__(channels, anchors)
        two = nn.Conv2d(channels, 2 * anchors, 1)
        for weights, std in zip(two.parameters(), (0.01, 0.0), strict=True):
            nn.init.normal_(weights, std=std)
        self.cls_logits = two

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """B×C×H×W maps → B×A×H×W scores and B×4A×H×W deltas of A anchors a place."""
        scores, deltas = super().forward(maps)
        pairs = (one.chunk(2, 1) for one in scores)
        return [thing - background for background, thing in pairs], deltas


class Hidden(nn.Module):
    """A classifier's own fully connected layers as a head; they stay in their place there, and keep their names.

    cells: side in cells of the map that they read · width: how many numbers they give.
    """

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self._of = (body, hidden_part(body))  # a tuple, so that they are registered once
        layers = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        self.cells, self.width = isqrt(layers[0].in_features // channels), layers[-1].out_features
        if layers[0].in_features != channels * self.cells**2:
            raise UserError("options.head: the backbone's fully connected layers read another map. Choose its last.")

    @property
    def layers(self) -> Any:
        """Where they are."""
        body, part = self._of
        return body.get_submodule(part)

    def forward(self, pooled: Tensor) -> Tensor:
        """R×C×cells×cells → R×width."""
        found: Tensor = self.layers(pooled.flatten(1))
        return found


def trunk(
    spec: Spec,
    backbone: str,
    options: dict[str, Any],
    stages: Sequence[str] | None,
    *,
    last_only: bool,
    dense: bool = False,
) -> tuple[nn.Module, tuple[str, ...]]:
    """A classifier without what its maps do not need, and the names of the maps; its other names stay.

    dense: the fully connected layers before its output stay, too; see `hidden_part`.
    """
    known = stages_of(backbone, options)
    used = tuple(stages or known)[-1 if last_only else 0 :]
    if set(used) - set(known):
        raise UserError(f"options.stages: {list(used)} are not maps of {backbone}, which has {list(known)}")
    body = build_network(backbone, Spec("classification", spec.classes, spec.channels, spec.size), options)
    kept = list(body.get_submodule(hidden_part(body)).named_children())[:-1] if dense else []
    if dense and not (hidden_part(body) and any(isinstance(layer, nn.Linear) for _, layer in kept)):
        raise UserError(f"options.head: {backbone} has no fully connected layers before its output. Use head: new.")
    drop_unused(body, used, spec.channels, spec.size)
    if dense:
        body.set_submodule(hidden_part(body), nn.Sequential(OrderedDict(kept)))
    return body, used


def hidden_part(body: nn.Module) -> str:
    """The name of the part of a classifier that its output layer is the last of; empty where that stands alone."""
    return (anatomy(body).head or "").rpartition(".")[0]


def _anchors(strides: list[int], pyramid: bool, sides: Sequence[float] | None) -> AnchorGenerator:
    if not pyramid:
        sizes = [tuple(sides or (ANCHOR * strides[-1] * factor for factor in (1, 2, 4)))]
    else:
        strides = [*strides, 2 * strides[-1]]
        sizes = [(side,) for side in sides or (ANCHOR * stride for stride in strides)]
        if len(sizes) != len(strides):
            raise UserError(f"options.anchors: {len(sizes)} sides for {len(strides)} maps; give one a map")
    return AnchorGenerator(tuple(sizes), (ASPECTS,) * len(sizes))
