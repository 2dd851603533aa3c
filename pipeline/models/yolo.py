"""YOLO: one forward pass predicts boxes and classes for every cell of a grid.

Redmon, Divvala, Girshick, Farhadi: You Only Look Once, CVPR 2016, https://arxiv.org/abs/1506.02640. Published: 63.4 mAP
on VOC 2007 (trained on 07+12) at 45 images per second.

The image is divided into S×S cells. Each predicts B boxes with a confidence, and class probabilities of the object
whose centre is in it: S×S×(B·5+C) values. With `boxes_have_classes` each box has its own probabilities: S×S×B×(5+C).
All outputs are linear and trained by squared error: confidence is the IoU of the box with the object; width and height
are square roots, so that a pixel of error counts less for large boxes.

Promise: at the paper's settings 24 convolutions and two fully connected layers with 271,703,550 parameters for 20
classes; with `norm` 271,716,734. Any classifier in pipeline/models can replace the first 20 convolutions.
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
from pipeline.models.parts.feature_maps import features, meta_copy
from pipeline.models.parts.layers import backbone as make_backbone
from pipeline.models.parts.layers import he_normal, levels_of
from pipeline.models.parts.spec import Spec
from pipeline.models.parts.yolo_grid import CellPredictions, Grid, find_responsible

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
LEVELS = ()

#: figure 3: (kernel, channels) of the convolutions pretrained as a classifier, with a pooling between groups
CONVOLUTION_GROUPS = (
    ((7, 64),),
    ((3, 192),),
    ((1, 128), (3, 256), (1, 256), (3, 512)),
    (*((1, 256), (3, 512)) * 4, (1, 512), (3, 1024)),
    ((1, 512), (3, 1024)) * 2,
)
LAST_CONVOLUTION = "conv20"
#: stride in pixels of their last feature map, and channels of the four convolutions that follow
STRIDE, WIDTH = 32, 1024
LEAK = 0.1
HEADS = ("connected", "convolutional")
#: smallest score of a detection
MIN_SCORE = 0.01
Layers = OrderedDict[str, nn.Module]


def build(
    spec: Spec,
    *,
    backbone: str | None = None,
    backbone_options: dict[str, Any] | None = None,
    level: str | None = None,
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
    """Images B×C×S×S → per image a dict of boxes N×4 in pixels, labels N and scores N; with targets: losses by name.

    backbone: a classifier in pipeline/models up to `level`, by default its last, instead of the paper's first 20
    convolutions · width: channels of the four convolutions that follow · head: `connected`, so that a cell learns from
    its own objects alone, or `convolutional`, the same two layers for every cell (as from YOLOv2 on), better for small
    datasets · head_width: units of the hidden layer · cells: S · boxes: B · norm: batch normalisation of the paper's
    convolutions · dropout: after the hidden layer · coordinates, empty: λ_coord and λ_noobj, weights of box errors and
    of the confidence of boxes without an object · overlap: IoU above which two boxes of a class are duplicates ·
    detections: maximum per image.
    """
    if head not in HEADS:
        raise UserError(f"options.head: {plugins.unknown('head', head, HEADS)}")
    if min(cells, boxes) < 1:
        raise UserError(f"options: cells {cells} and boxes {boxes} must be at least 1 for yolo")
    if backbone is None:
        if backbone_options or level:
            raise UserError("options.backbone_options, options.level: need options.backbone; set it or leave them out")
        body, level = _convolutions(spec, norm), LAST_CONVOLUTION
    else:
        level = level or levels_of(backbone, backbone_options)[-1]
        body = make_backbone(backbone, spec, backbone_options or {}, [level])
    probe = torch.empty(2, spec.channels, spec.size, spec.size, device="meta")
    with torch.no_grad():
        _, channels, side, _ = features(meta_copy(body), probe, [level])[level].shape
    grid = Grid(cells, boxes, spec.classes, boxes_have_classes)
    layers = _detection_layers(channels, width, norm)
    side = -(-side // 2)
    if head == "connected":
        layers |= _connected(width * side**2, head_width, cells**2 * grid.outputs, dropout)
    elif side == cells:
        layers |= _convolutional(width, head_width, grid.outputs, dropout)
    else:
        raise UserError(
            f"options.cells: {cells}, but the feature map after {level} has {side} cells per side; use {side}"
        )
    return YOLO(body, level, he_normal(nn.Sequential(layers)), grid, (coordinates, empty), (overlap, detections))


def _convolutions(spec: Spec, norm: bool) -> nn.Module:
    """The first 20 convolutions: images → feature maps of side S/32."""
    if spec.size < STRIDE:
        raise UserError(f"size: {spec.size} is too small for yolo; use at least {STRIDE}")
    layers: Layers = OrderedDict()
    inputs, number = spec.channels, count(1)
    for index, group in enumerate(CONVOLUTION_GROUPS):
        if index:
            layers[f"pool{index}"] = nn.MaxPool2d(2)
        for kernel, outputs in group:
            layers[f"conv{next(number)}"] = _convolution(inputs, outputs, kernel, 1 if layers else 2, norm)
            inputs = outputs
    return he_normal(nn.Sequential(layers))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not norm)
    return nn.Sequential(conv, *[nn.BatchNorm2d(outputs)] * norm, nn.LeakyReLU(LEAK, inplace=True))


def _detection_layers(channels: int, width: int, norm: bool) -> Layers:
    """Convolutions 21 to 24, the second of stride 2."""
    sizes = enumerate(((channels, 1), (width, 2), (width, 1), (width, 1)), start=21)
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
    """A backbone up to `level`, the head, and the layout of its output.

    weights: λ_coord and λ_noobj · limits: IoU above which two boxes are duplicates, and maximum detections per image.
    """

    def __init__(
        self,
        body: nn.Module,
        level: str,
        head: nn.Module,
        grid: Grid,
        weights: tuple[float, float],
        limits: tuple[float, int],
    ) -> None:
        super().__init__()
        self.body, self.level, self.head = body, level, head
        self.grid, self.weights, self.limits = grid, weights, limits

    def values(self, images: Tensor) -> Tensor:
        """B×C×H×H → B×S²×outputs."""
        values: Tensor = self.head(features(self.body, images, [self.level])[self.level])
        return values.flatten(2).mT if values.ndim == 4 else values.unflatten(1, (self.grid.cells**2, -1))

    def forward(self, images: Tensor, targets: Sequence[dict[str, Tensor]] | None = None) -> Any:
        """With targets: losses by name. Without: detections, one dict per image."""
        preds = self.grid.split(self.values(images).float())
        if targets is not None:
            return self.losses(preds, targets, images.shape[-1])
        return [self._detections(CellPredictions(*item), images.shape[-1]) for item in zip(*preds, strict=True)]

    def losses(self, preds: CellPredictions, targets: Sequence[dict[str, Tensor]], size: int) -> dict[str, Tensor]:
        """The five sums of equation 3, divided by the number of images."""
        image, cell, target_boxes, truth, labels = self._encode_targets(targets, size)
        decoded = self.grid.decode(preds.boxes)[image, cell].detach()
        box, iou = find_responsible(decoded, truth)
        index = (image, cell, box)
        boxes = (preds.boxes[index] - target_boxes).square()
        without_object = torch.ones_like(preds.confidence)
        without_object[index] = 0
        classes = preds.classes[index] - F.one_hot(labels, self.grid.classes)
        coordinates, empty = self.weights
        sums = {
            "centre": coordinates * boxes[:, :2].sum(),
            "sides": coordinates * boxes[:, 2:].sum(),
            "thing": (preds.confidence[index] - iou).square().sum(),
            "nothing": empty * (without_object * preds.confidence.square()).sum(),
            "class": classes.square().sum(),
        }
        return {name: value / len(targets) for name, value in sums.items()}

    def _encode_targets(self, targets: Sequence[dict[str, Tensor]], size: int) -> tuple[Tensor, ...]:
        """Image, cell, encoded box, corners as fractions of the image, and label of M objects.

        A cell predicts one object: the first if several are centred in it.
        """
        counts = torch.tensor([len(target["boxes"]) for target in targets])
        truth = torch.cat([target["boxes"] for target in targets]) / size
        labels = torch.cat([target["labels"] for target in targets])
        image = torch.arange(len(targets)).repeat_interleave(counts).to(truth.device)
        cell, target_boxes = self.grid.encode(truth)
        index = image * self.grid.cells**2 + cell
        first = (index[:, None] == index).float().argmax(1) == torch.arange(len(index), device=index.device)
        return image[first], cell[first], target_boxes[first], truth[first], labels[first]

    def _detections(self, preds: CellPredictions, size: int) -> dict[str, Tensor]:
        """One image's detections; a box's score for a class is its confidence times the class probability."""
        scores = preds.confidence[..., None].clamp(0, 1) * preds.classes.clamp(0, 1)
        scores = scores.flatten(0, 1)
        corners = (self.grid.decode(preds.boxes).flatten(0, 1) * size).clamp(0, size)
        index, labels = (scores > MIN_SCORE).nonzero(as_tuple=True)
        corners, scores = corners[index], scores[index, labels]
        max_iou, max_detections = self.limits
        kept = batched_nms(corners, scores, labels, max_iou)[:max_detections]
        return {"boxes": corners[kept], "labels": labels[kept], "scores": scores[kept]}


def trace(network: Any, images: Tensor) -> Tensor:
    """The network's output, before non-maximum suppression."""
    values: Tensor = network.values(images)
    return values
