"""Make a classifier fully convolutional: the same weights classify every window of an image of any size.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section 3,
https://arxiv.org/abs/1411.4038; dilation instead of strides: Yu and Koltun, ICLR 2016,
https://arxiv.org/abs/1511.07122.

Promise: weights keep their names and shapes, so weights of the classifier's own job load. On an image of the window's
size the only cell holds the classifier's logits. On a larger image cell (i, j) holds the logits of the window at
(i·stride, j·stride): exactly if no layer pads; else they differ as far as the zeros at a window's border matter.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import WIDER_PX, meta_copy
from pipeline.models.parts.layers import check_options
from pipeline.models.parts.spec import Spec, build_network

Shapes = dict[str, torch.Size]


class Sliding(nn.Module):
    """Images B×C×H×W → logits B×K×h×w, one cell per `stride` pixels, each of a window of `window` pixels.

    `network`, a classifier for images of that side, is changed in place: fully connected layers become convolutions,
    the global average becomes one over the window's cells, and layers that run only in training are removed.
    """

    def __init__(self, network: nn.Module, channels: int, window: int) -> None:
        super().__init__()
        _convert_layers(network, _input_shapes(network, channels, window))
        self.network, self.channels, self.window = network, channels, window
        self.stride = self._stride()

    def _stride(self) -> int:
        sides = (self.window, self.window + WIDER_PX)
        try:
            one, more = (_meta_outputs(self.network, self.channels, side).shape[2:] for side in sides)
        except RuntimeError as error:
            message = f"this classifier cannot be made fully convolutional ({error}); use another"
            raise UserError(f"options.backbone: {message}") from None
        if one != (1, 1) or more[0] == 1:
            cells = f"{one[0]}×{one[1]} cells"
            raise UserError(f"options.window: {self.window} pixels give {cells} and must give one; use another size")
        return WIDER_PX // (more[0] - 1)

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W → B×K×((H−window)/stride+1)×((W−window)/stride+1)."""
        logits: Tensor = self.network(images)
        return logits

    def pad_border(self, images: Tensor, stride: int | None = None) -> Tensor:
        """Zero-pad images so that cell i is centred on the i-th group of `stride` pixels and cells cover all pixels."""
        step = self.stride if stride is None else stride
        before = (self.window - step) // 2
        padded_sides = [self.window + (-(-side // step) - 1) * step for side in images.shape[2:]]
        below, right = (padded - side - before for padded, side in zip(padded_sides, images.shape[2:], strict=True))
        return F.pad(images, (before, right, before, below))


def build_sliding(
    spec: Spec, backbone: str, backbone_options: dict[str, Any] | None, window: int | None, step: int = 1
) -> Sliding:
    """A fully convolutional classifier from pipeline/models.

    window: side in pixels, a multiple of `step`; by default the image's, rounded down to a multiple.
    """
    options = dict(backbone_options or {})
    check_options(backbone, options)
    side = window or spec.size // step * step
    if side % step or not 0 < side <= spec.size:
        raise UserError(f"options.window: {side} must be a multiple of {step} up to the image's {spec.size} pixels")
    classifier = build_network(backbone, Spec("classification", spec.classes, spec.channels, side), options)
    return Sliding(classifier, spec.channels, side)


class Window(nn.Linear):
    """A fully connected layer as a convolution with the same weights: B×C×H×W → B×out×h×w."""

    def __init__(self, dense: nn.Linear, cells: torch.Size) -> None:
        super().__init__(dense.in_features, dense.out_features, dense.bias is not None, device="meta")
        self.weight, self.bias = dense.weight, dense.bias
        self.cells, self.dilation = cells, 1

    def forward(self, features: Tensor) -> Tensor:
        """B×C×H×W → B×out×h×w; the cells of a window are `dilation` apart."""
        return F.conv2d(features, self.weight.view(-1, *self.cells), self.bias, dilation=self.dilation)


class Mean(nn.Module):
    """Average pooling over kernel×kernel cells, `dilation` apart, with stride 1: B×C×H×W → B×C×h×w."""

    def __init__(self, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation

    def forward(self, features: Tensor) -> Tensor:
        """B×C×H×W → B×C×h×w; with dilation a depthwise convolution, as torch's average pooling has none."""
        if self.dilation == 1:
            return F.avg_pool2d(features, self.kernel, 1)
        weight = features.new_full((features.shape[1], 1, self.kernel, self.kernel), self.kernel**-2)
        return F.conv2d(features, weight, dilation=self.dilation, groups=features.shape[1])


class Largest(nn.Module):
    """Max pooling over cells that are `dilation` apart, with stride 1: B×C×H×W → B×C×h×w."""

    def __init__(self, pool: nn.MaxPool2d, dilation: int) -> None:
        super().__init__()
        self.kernel, self.dilation = int(pool.kernel_size), dilation  # type: ignore[arg-type]
        before = dilation * int(pool.padding)  # type: ignore[arg-type]
        after = dilation * (self.kernel - 1) - before if pool.ceil_mode else before
        self.border = (before, after, before, after)

    def forward(self, features: Tensor) -> Tensor:
        """B×C×H×W → B×C×h×w; padded here with −∞, as torch's pooling allows less padding than dilation needs."""
        padded = F.pad(features, self.border, value=float("-inf"))
        return F.max_pool2d(padded, self.kernel, 1, dilation=self.dilation)


@torch.no_grad()
def _meta_outputs(network: nn.Module, channels: int, side: int) -> Tensor:
    outputs: Tensor = meta_copy(network)(torch.empty(2, channels, side, side, device="meta"))
    return outputs


@torch.no_grad()
def _input_shapes(network: nn.Module, channels: int, side: int) -> Shapes:
    """The input shape of each module that runs, by name, in the order of execution."""
    shapes: Shapes = {}

    def record(name: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        shapes[name] = inputs[0].shape

    probe = meta_copy(network)
    with ExitStack() as hooks:
        for name, module in probe.named_modules():
            hooks.callback(module.register_forward_pre_hook(partial(record, name)).remove)
        probe(torch.empty(2, channels, side, side, device="meta"))
    return shapes


def _convert_layers(network: nn.Module, shapes: Shapes) -> None:
    """Replace layers that read the whole window by sliding ones, and layers that did not run by identities."""
    flattened = torch.Size()
    for name, shape in shapes.items():
        layer = network.get_submodule(name)
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            network.set_submodule(name, _convert_average(layer, shape))
        elif isinstance(layer, nn.Flatten):
            flattened = shape[1:]
            network.set_submodule(name, nn.Identity())
        elif isinstance(layer, nn.Linear):
            cells = flattened if flattened.numel() == layer.in_features else torch.Size((layer.in_features, 1, 1))
            network.set_submodule(name, Window(layer, cells))
            flattened = torch.Size()
    for name, layer in list(network.named_modules()):
        ran = any(inner == name or inner.startswith(f"{name}.") for inner in shapes)
        if not ran and next(layer.parameters(), None) is not None:
            network.set_submodule(name, nn.Identity())


def _convert_average(layer: nn.AdaptiveAvgPool2d, shape: torch.Size) -> nn.Module:
    sides: Any = layer.output_size
    side = sides[0] if isinstance(sides, tuple) else sides
    if side == shape[2]:
        return nn.Identity()
    if side == 1:
        return Mean(shape[2])
    raise UserError(
        f"options.window: adaptive pooling {shape[2]}→{side} cannot be made fully convolutional; use another backbone "
        f"or a window that gives it {side} cells"
    )


def dilate(body: Sliding) -> None:
    """Replace every stride by a dilation of the layers that follow: one cell per pixel with the same weights.

    There may be more cells than windows inside the image: the last ones reach past its border.
    UserError for a network with a stride that is not an attribute of a module.
    """
    sides = (body.window, body.window + WIDER_PX)
    near, far = (_input_shapes(body.network, body.channels, side) for side in sides)
    for name, shape in near.items():
        growth = far[name][2] - shape[2] if len(shape) == 4 else 0
        if growth:
            _dilate_layer(body.network, name, WIDER_PX // growth)
    one, more = (_meta_outputs(body.network, body.channels, side).shape[2] for side in sides)
    if more - one != WIDER_PX:
        raise UserError(
            "options.mode: dilate is impossible, as a stride of this backbone cannot be dilated; use stitch"
        )
    body.stride = 1


def _dilate_layer(network: nn.Module, name: str, dilation: int) -> None:
    """Adapt a layer to inputs that lie `dilation` pixels apart; its outputs lie one pixel apart."""
    layer: Any = network.get_submodule(name)
    if isinstance(layer, nn.AvgPool2d):
        network.set_submodule(name, Mean(layer.kernel_size, dilation))  # type: ignore[arg-type]
    elif isinstance(layer, nn.MaxPool2d):
        network.set_submodule(name, Largest(layer, dilation))
    elif isinstance(layer, nn.Conv2d):
        for setting in ("dilation", "padding"):
            setattr(layer, setting, tuple(dilation * side for side in getattr(layer, setting)))
        layer.stride = (1, 1)
    elif isinstance(layer, Mean | Window):
        layer.dilation = dilation
    elif hasattr(layer, "stride"):
        layer.stride = 1
