"""Fast R-CNN: the image is seen once, and each proposal is judged by what lies in its place of the map.

Girshick: Fast R-CNN, ICCV 2015, https://arxiv.org/abs/1504.08083. Published: 66.9 mAP on VOC 2007 (VGG-16), 0.32 s an
image on a K40 without the 2 s of selective search.

Promise: with VGG-16's own fully connected layers as head (`head: backbone`) it has 134,690,729 parameters for 21
classes with background. An image's proposals come with its sample (pipeline/augment/derived/proposals.py), or are
searched for when it is asked about, and then that time is part of the answer's. The paper also factorises the head's
weights to make it faster; that is not done here.
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
from pipeline.models.faster_rcnn import HEADS, Backbone, Hidden, trunk
from pipeline.models.parts.box_coding import SPREAD, Answers, Draw, Drawn, box_loss, class_loss, counted, decoded, given
from pipeline.models.parts.feature_maps import stage_shapes
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
        "stage": "features.conv5",
        "head": "backbone",
    },
    "parameters": 134_690_729,
}
SMALL = {"size": 64, "options": {"backbone": "resnet", "backbone_options": {"width": 8}, "head_width": 32}}
STAGES = ()
#: derived fields that it looks at beside the image
NEEDS = ("proposals",)


def build(
    spec: Spec,
    *,
    backbone: str = "vgg",
    backbone_options: dict[str, Any] | None = None,
    stage: str | None = None,
    frozen_norm: bool = False,
    head: str = "new",
    head_width: int = 1024,
    samples: int = 64,
    share: float = 0.25,
    background: float = 0.1,
    score: float = 0.05,
    overlap: float = 0.3,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S and proposals → a dict an image with boxes, labels and scores; with targets: losses by name.

    backbone: a classifier of this folder, backbone_options those of its build · stage: which of its maps; the last ·
    frozen_norm: its batch normalisation stays as it was loaded · head: `new`, two layers of `head_width`, or
    `backbone`, its own fully connected layers · samples: proposals of an image that are learnt from, of which at most
    a `share` shows things; the others overlap one by `background` to 0.5 · score: the least that is an answer ·
    overlap: boxes of a class that overlap by more are one · detections: the most that an image gets.
    """
    if head not in HEADS:
        raise UserError(f"options.head: {plugins.unknown('head', head, HEADS)}")
    stages, dense = None if stage is None else [stage], head == "backbone"
    body, used = trunk(spec, backbone, backbone_options or {}, stages, last_only=True, dense=dense)
    shapes = stage_shapes(body, used, spec.channels, spec.size)
    if frozen_norm:
        freeze_norm(body)
    draw, answers = Draw(samples, share, 0.5, background), Answers(score, overlap, detections)
    maps = Backbone(body, shapes, None)
    own = Hidden(body, maps.out_channels) if dense else None
    return FastRCNN(maps, shapes[used[0]][1], own or head_width, spec.classes, draw, answers)


class FastRCNN(nn.Module):
    """One map, what of it lies in each proposal in cells, two hidden layers, and two answers: the class and the box."""

    def __init__(
        self, backbone: Backbone, stride: int, head: Hidden | int, classes: int, draw: Draw, answers: Answers
    ) -> None:
        """Head: the backbone's own, or the width of a new one."""
        super().__init__()
        self.backbone, self.stride, self.classes, self.draw, self.answers = backbone, stride, classes, draw, answers
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

    def judged(self, maps: Tensor, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """B×C×H×W maps and boxes by image → of all R boxes logits R×(K+1), and R×(K+1)×4 that tell boxes by class."""
        seen = self.box_head(roi_pool(maps, boxes, self.cells, 1 / self.stride))
        return self.cls_score(seen), self.bbox_pred(seen).view(len(seen), -1, 4)

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Target] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> Any:
        """With targets, which hold proposals: losses by name. Without: what is found, a dict an image."""
        boxes, size = given(targets, proposals), images.shape[-1]
        (maps,) = self.backbone(images).values()
        if targets is None:
            logits, numbers = (part.float() for part in self.judged(maps, boxes))
            found = decoded(numbers * numbers.new_tensor(SPREAD), torch.cat(boxes))[:, :-1]
            parts = (part.split([len(one) for one in boxes]) for part in (found, logits.softmax(1)[:, :-1]))
            return [self.answers.of(own, scores, size) for own, scores in zip(*parts, strict=True)]
        drawn = [self.draw.of(*pair, self.classes) for pair in zip(boxes, targets, strict=True)]
        logits, numbers = self.judged(maps, [one.boxes for one in drawn])
        every = Drawn(*(torch.cat(part) for part in zip(*drawn, strict=True)))
        return {"class": class_loss(logits, every.labels), "box": box_loss(numbers.float()[:, :-1], every)}


class Weighed(Detector):
    """The two losses of the network, each at its weight."""

    def __init__(self, network: nn.Module, settings: Settings, weights: dict[str, float]) -> None:
        super().__init__(network, settings)
        self.weights = weights

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None, phase: str = "train") -> Any:
        """With targets: losses by name. Without: what is found."""
        found = super().forward(images, targets, phase)
        return found if targets is None else {name: self.weights[name] * loss for name, loss in found.items()}


def learner(
    network: nn.Module, settings: Settings, *, box_weight: float = 1.0, convex: float | None = None
) -> Detector:
    """The loss is class + box_weight · box; or, with `convex`, (1 − convex) · class + convex · box."""
    if convex is not None and (box_weight != 1 or not 0 <= convex <= 1):
        raise UserError(f"loss.convex: {convex}, beside box_weight {box_weight}. Give one of them, convex in 0..1.")
    shares = {"class": 1.0, "box": box_weight} if convex is None else {"class": 1 - convex, "box": convex}
    return Weighed(network, settings, shares)


def trace(network: FastRCNN, images: Tensor) -> list[Tensor]:
    """What the network computes for an image with 2,000 proposals, all of them the whole image."""
    (maps,) = network.backbone(images).values()
    whole = counted(images)
    return list(network.judged(maps, [whole, *[whole[:0]] * (len(images) - 1)]))
