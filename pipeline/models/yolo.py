"""YOLO: one look at the image gives all boxes and classes, cell by cell.

Redmon, Divvala, Girshick, Farhadi: You Only Look Once, CVPR 2016, https://arxiv.org/abs/1506.02640. Published: 63.4 mAP
on VOC 2007 (trained on 07+12) at 45 images a second.

The image is cut into S×S cells. Each gives B boxes with a confidence, and the classes' shares for the thing whose
centre is in it: S×S×(B·5+C) numbers. With `boxes_have_classes` each box has shares of its own: S×S×B×(5+C). All are
linear and learnt by squared error: confidence as the box's overlap with the thing, sides as their square roots, so
that a pixel counts less on a large one.

Promise: at the paper's settings 24 convolutions and two fully connected layers with 271,703,550 parameters for 20
classes; with `norm` 271,716,734. Any classifier of this folder can take the place of the first 20 convolutions.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import features, shadow
from pipeline.models.parts.layers import backbone as make_backbone
from pipeline.models.parts.layers import he_normal, stages_of
from pipeline.models.parts.spec import Spec
from pipeline.models.parts.yolo_grid import Grid, Said, responsible

TASKS = ("detection",)
PAPER = {"input": [3, 448, 448], "classes": 20, "options": {}, "parameters": 271_703_550}
SMALL = {
    "size": 64,
    "options": {
        "backbone": "resnet",
        "backbone_options": {"depth": 20, "width": 4},
        "width": 8,
        "head_width": 16,
        "dropout": 0,
    },
}
STAGES = ()

#: figure 3: (kernel, maps) of the convolutions that are pretrained as a classifier, a pooling between two groups
GROUPS = (
    ((7, 64),),
    ((3, 192),),
    ((1, 128), (3, 256), (1, 256), (3, 512)),
    (*((1, 256), (3, 512)) * 4, (1, 512), (3, 1024)),
    ((1, 512), (3, 1024)) * 2,
)
LAST = "conv20"
#: pixels of a cell of their last map, and maps of the four convolutions that follow
STRIDE, WIDTH = 32, 1024
LEAK = 0.1
HEADS = ("connected", "convolutional")
#: from this score on a box is an answer
SCORE = 0.01
Layers = OrderedDict[str, nn.Module]


def build(
    spec: Spec,
    *,
    backbone: str | None = None,
    backbone_options: dict[str, Any] | None = None,
    stage: str | None = None,
    width: int = WIDTH,
    head: str = "connected",
    head_width: int = 4096,
    cells: int = 7,
    boxes: int = 2,
    boxes_have_classes: bool = False,
    norm: bool = False,
    dropout: float = 0.5,
    coordinates: float = 5.0,
    empty: float = 0.5,
    overlap: float = 0.5,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S → a dict an image with boxes N×4 in pixels, labels N and scores N; with targets: losses by name.

    backbone: a classifier of this folder up to `stage`, by default its last, in the place of the paper's first 20
    convolutions · width: maps of the four convolutions that follow · head: `connected`, so that a cell learns from the
    things in it alone, or `convolutional`, the same two layers for every cell of the maps (as from YOLOv2 on), which
    few images need · head_width: units of the hidden layer · cells: S · boxes: B · norm: batch normalisation of the
    paper's convolutions · dropout: behind the hidden layer · coordinates, empty: λ_coord and λ_noobj, what errors of
    boxes count, and confidence where nothing is · overlap: two boxes of a class that overlap by more are one ·
    detections: the most that an image gets.
    """
    if head not in HEADS:
        raise UserError(f"options.head: {plugins.unknown('head', head, HEADS)}")
    if min(cells, boxes) < 1:
        raise UserError(f"options: yolo has no {cells}×{cells} cells of {boxes} boxes. Give whole numbers from 1 on.")
    if backbone is None:
        if backbone_options or stage:
            raise UserError("options.backbone_options, options.stage: are a backbone's. Name it, or leave them out.")
        body, stage = _convolutions(spec, norm), LAST
    else:
        stage = stage or stages_of(backbone, backbone_options)[-1]
        body = make_backbone(backbone, spec, backbone_options or {}, [stage])
    probe = torch.empty(2, spec.channels, spec.size, spec.size, device="meta")
    with torch.no_grad():
        _, maps, side, _ = features(shadow(body), probe, [stage])[stage].shape
    grid = Grid(cells, boxes, spec.classes, boxes_have_classes)
    layers = _four(maps, width, norm)
    side = -(-side // 2)
    if head == "connected":
        layers |= _connected(width * side**2, head_width, cells**2 * grid.outputs, dropout)
    elif side == cells:
        layers |= _convolutional(width, head_width, grid.outputs, dropout)
    else:
        raise UserError(f"options.cells: {cells}, but there are {side} a side behind {stage}. Give as many.")
    return YOLO(body, stage, he_normal(nn.Sequential(layers)), grid, (coordinates, empty), (overlap, detections))


def _convolutions(spec: Spec, norm: bool) -> nn.Module:
    """The first 20: images → maps of S/32."""
    if spec.size < STRIDE:
        raise UserError(f"size: {spec.size} is too small for yolo; use at least {STRIDE}")
    layers: Layers = OrderedDict()
    inputs, number = spec.channels, count(1)
    for place, group in enumerate(GROUPS):
        if place:
            layers[f"pool{place}"] = nn.MaxPool2d(2)
        for kernel, outputs in group:
            layers[f"conv{next(number)}"] = _convolution(inputs, outputs, kernel, 1 if layers else 2, norm)
            inputs = outputs
    return he_normal(nn.Sequential(layers))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not norm)
    return nn.Sequential(conv, *[nn.BatchNorm2d(outputs)] * norm, nn.LeakyReLU(LEAK, inplace=True))


def _four(maps: int, width: int, norm: bool) -> Layers:
    """Convolutions 21 to 24, the second of stride 2."""
    sizes = enumerate(((maps, 1), (width, 2), (width, 1), (width, 1)), start=21)
    return OrderedDict(
        (f"conv{number}", _convolution(inputs, width, 3, stride, norm)) for number, (inputs, stride) in sizes
    )


def _connected(inputs: int, hidden: int, outputs: int, dropout: float) -> Layers:
    """B×C×S×S → B×(S·S·outputs)."""
    return OrderedDict(
        flatten=nn.Flatten(),
        hidden=nn.Linear(inputs, hidden),
        leaky=nn.LeakyReLU(LEAK, inplace=True),
        dropout=nn.Dropout(dropout),
        output=nn.Linear(hidden, outputs),
    )


def _convolutional(inputs: int, hidden: int, outputs: int, dropout: float) -> Layers:
    """B×C×S×S → B×outputs×S×S."""
    return OrderedDict(
        hidden=nn.Conv2d(inputs, hidden, 1),
        leaky=nn.LeakyReLU(LEAK, inplace=True),
        dropout=nn.Dropout(dropout),
        output=nn.Conv2d(hidden, outputs, 1),
    )


class YOLO(nn.Module):
    """A body up to `stage`, the head, and what its numbers mean.

    weights: λ_coord and λ_noobj · limits: from which overlap on two boxes are one, and how many an image gets.
    """

    def __init__(
        self,
        body: nn.Module,
        stage: str,
        head: nn.Module,
        grid: Grid,
        weights: tuple[float, float],
        limits: tuple[float, int],
    ) -> None:
        super().__init__()
        self.body, self.stage, self.head = body, stage, head
        self.grid, self.weights, self.limits = grid, weights, limits

    def values(self, images: Tensor) -> Tensor:
        """B×C×H×H → B×S²×outputs."""
        values: Tensor = self.head(features(self.body, images, [self.stage])[self.stage])
        return values.flatten(2).mT if values.ndim == 4 else values.unflatten(1, (self.grid.cells**2, -1))

    def forward(self, images: Tensor, targets: Sequence[dict[str, Tensor]] | None = None) -> Any:
        """With targets: losses by name. Without: a dict an image."""
        said = self.grid.split(self.values(images).float())
        if targets is not None:
            return self.losses(said, targets, images.shape[-1])
        return [self._found(Said(*item), images.shape[-1]) for item in zip(*said, strict=True)]

    def losses(self, said: Said, targets: Sequence[dict[str, Tensor]], size: int) -> dict[str, Tensor]:
        """Equation 3, its five sums, of a mean image."""
        image, cell, wanted, truth, labels = self._asked(targets, size)
        guessed = self.grid.decode(said.boxes)[image, cell].detach()
        box, overlap = responsible(guessed, truth)
        at = (image, cell, box)
        boxes = (said.boxes[at] - wanted).square()
        alone = torch.ones_like(said.confidence)
        alone[at] = 0
        classes = said.classes[at] - F.one_hot(labels, self.grid.classes)
        near, far = self.weights
        sums = {
            "centre": near * boxes[:, :2].sum(),
            "sides": near * boxes[:, 2:].sum(),
            "thing": (said.confidence[at] - overlap).square().sum(),
            "nothing": far * (alone * said.confidence.square()).sum(),
            "class": classes.square().sum(),
        }
        return {name: value / len(targets) for name, value in sums.items()}

    def _asked(self, targets: Sequence[dict[str, Tensor]], size: int) -> tuple[Tensor, ...]:
        """M things: image, cell, what its box should say, corners in parts of the image, label.

        A cell knows one thing: of several centred in it the first.
        """
        counts = torch.tensor([len(target["boxes"]) for target in targets])
        truth = torch.cat([target["boxes"] for target in targets]) / size
        labels = torch.cat([target["labels"] for target in targets])
        image = torch.arange(len(targets)).repeat_interleave(counts).to(truth.device)
        cell, wanted = self.grid.encode(truth)
        place = image * self.grid.cells**2 + cell
        kept = (place[:, None] == place).float().argmax(1) == torch.arange(len(place), device=place.device)
        return image[kept], cell[kept], wanted[kept], truth[kept], labels[kept]

    def _found(self, said: Said, size: int) -> dict[str, Tensor]:
        """One image's answers: a box's score for a class is its confidence times the class's share."""
        scores = said.confidence[..., None].clamp(0, 1) * said.classes.clamp(0, 1)
        scores = scores.flatten(0, 1)
        corners = (self.grid.decode(said.boxes).flatten(0, 1) * size).clamp(0, size)
        place, labels = (scores > SCORE).nonzero(as_tuple=True)
        corners, scores = corners[place], scores[place, labels]
        overlap, most = self.limits
        kept = batched_nms(corners, scores, labels, overlap)[:most]
        return {"boxes": corners[kept], "labels": labels[kept], "scores": scores[kept]}


def trace(network: Any, images: Tensor) -> Tensor:
    """All that the network says of images, before boxes are chosen."""
    values: Tensor = network.values(images)
    return values
