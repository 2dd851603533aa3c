"""A classifier made fully convolutional: the same weights judge every window of an image of any size.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section 3,
https://arxiv.org/abs/1411.4038; dilation in the place of strides: Yu and Koltun, ICLR 2016,
https://arxiv.org/abs/1511.07122.

Promise: weights keep their names and shapes, so those of the classifier's own job load. On an image as large as the
window the one cell is the classifier's logits. On a larger one cell (i, j) is its logits for the window at
(i·stride, j·stride): exactly where no layer pads, else as far as the zeros at a window's border are not seen.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import WIDER_PX, shadow
from pipeline.models.parts.layers import check_options
from pipeline.models.parts.spec import Spec, build_network

Shapes = dict[str, torch.Size]


class Sliding(nn.Module):
    """Images B×C×H×W → logits B×K×h×w, a cell every `stride` pixels, each for a window of `window` pixels.

    `network` is a classifier for images of that side and is changed: what is fully connected becomes a convolution,
    the global average one over the window's cells, and what runs in training alone is left out.
    """

    def __init__(self, network: nn.Module, channels: int, window: int) -> None:
        super().__init__()
        _slide(network, _inputs(network, channels, window))
        self.network, self.channels, self.window = network, channels, window
        self.stride = self._stride()

    def _stride(self) -> int:
        sides = (self.window, self.window + WIDER_PX)
        try:
            one, more = (_outputs(self.network, self.channels, side).shape[2:] for side in sides)
        except RuntimeError as error:
            raise UserError(f"options.backbone: this classifier does not slide over an image: {error}") from None
        if one != (1, 1) or more[0] == 1:
            raise UserError(f"options.window: of {self.window} pixels gives {one[0]}×{one[1]} cells, not one")
        return WIDER_PX // (more[0] - 1)

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W → B×K×((H−window)/stride+1)×((W−window)/stride+1)."""
        logits: Tensor = self.network(images)
        return logits

    def bordered(self, images: Tensor, stride: int | None = None) -> Tensor:
        """The images with zeros around, so that cell i is centred on the i-th `stride` pixels, and all are covered."""
        step = self.stride if stride is None else stride
        before = (self.window - step) // 2
        needed = [self.window + (-(-side // step) - 1) * step for side in images.shape[2:]]
        high, wide = (total - side - before for total, side in zip(needed, images.shape[2:], strict=True))
        return F.pad(images, (before, wide, before, high))


def sliding(
    spec: Spec, backbone: str, backbone_options: dict[str, Any] | None, window: int | None, step: int = 1
) -> Sliding:
    """A classifier of the folder that slides; its window is the image where none is given, in multiples of `step`."""
    options = dict(backbone_options or {})
    check_options(backbone, options)
    side = window or spec.size // step * step
    if side % step or not 0 < side <= spec.size:
        raise UserError(f"options.window: {side} is no multiple of {step} pixels up to the image's {spec.size}")
    classifier = build_network(backbone, Spec("classification", spec.classes, spec.channels, side), options)
    return Sliding(classifier, spec.channels, side)


class Window(nn.Linear):
    """A fully connected layer, its weights as they are, at every place of maps: B×C×H×W → B×out×h×w."""

    def __init__(self, dense: nn.Linear, cells: torch.Size) -> None:
        super().__init__(dense.in_features, dense.out_features, dense.bias is not None, device="meta")
        self.weight, self.bias = dense.weight, dense.bias
        self.cells, self.dilation = cells, 1

    def forward(self, maps: Tensor) -> Tensor:
        """Cells are seen `dilation` apart."""
        return F.conv2d(maps, self.weight.view(-1, *self.cells), self.bias, dilation=self.dilation)


class Mean(nn.Module):
    """The mean of kernel×kernel cells, `dilation` apart, at every place: B×C×H×W → B×C×h×w."""

    def __init__(self, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation

    def forward(self, maps: Tensor) -> Tensor:
        """As a convolution of each map with itself, where torch's own pooling has no dilation."""
        if self.dilation == 1:
            return F.avg_pool2d(maps, self.kernel, 1)
        ones = maps.new_full((maps.shape[1], 1, self.kernel, self.kernel), self.kernel**-2)
        return F.conv2d(maps, ones, dilation=self.dilation, groups=maps.shape[1])


class Largest(nn.Module):
    """The largest of a pooling's cells, `dilation` apart, at every place: B×C×H×W → B×C×h×w."""

    def __init__(self, pool: nn.MaxPool2d, dilation: int) -> None:
        super().__init__()
        self.kernel, self.dilation = int(pool.kernel_size), dilation  # type: ignore[arg-type]
        before = dilation * int(pool.padding)  # type: ignore[arg-type]
        after = dilation * (self.kernel - 1) - before if pool.ceil_mode else before
        self.border = (before, after, before, after)

    def forward(self, maps: Tensor) -> Tensor:
        """Beyond the border is nothing; torch's own pooling pads by less than a dilated window needs."""
        padded = F.pad(maps, self.border, value=float("-inf"))
        return F.max_pool2d(padded, self.kernel, 1, dilation=self.dilation)


@torch.no_grad()
def _outputs(network: nn.Module, channels: int, side: int) -> Tensor:
    outputs: Tensor = shadow(network)(torch.empty(2, channels, side, side, device="meta"))
    return outputs


@torch.no_grad()
def _inputs(network: nn.Module, channels: int, side: int) -> Shapes:
    """By name, the shape of what each module that runs is given, in the order of running."""
    shapes: Shapes = {}

    def note(name: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        shapes[name] = inputs[0].shape

    probe = shadow(network)
    with ExitStack() as hooks:
        for name, module in probe.named_modules():
            hooks.callback(module.register_forward_pre_hook(partial(note, name)).remove)
        probe(torch.empty(2, channels, side, side, device="meta"))
    return shapes


def _slide(network: nn.Module, shapes: Shapes) -> None:
    """Put sliding layers in the place of those that see the whole window, and nothing where nothing ran."""
    flat = torch.Size()
    for name, shape in shapes.items():
        layer = network.get_submodule(name)
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            network.set_submodule(name, _average(layer, shape))
        elif isinstance(layer, nn.Flatten):
            flat = shape[1:]
            network.set_submodule(name, nn.Identity())
        elif isinstance(layer, nn.Linear):
            cells = flat if flat.numel() == layer.in_features else torch.Size((layer.in_features, 1, 1))
            network.set_submodule(name, Window(layer, cells))
            flat = torch.Size()
    for name, layer in list(network.named_modules()):
        ran = any(inner == name or inner.startswith(f"{name}.") for inner in shapes)
        if not ran and next(layer.parameters(), None) is not None:
            network.set_submodule(name, nn.Identity())


def _average(layer: nn.AdaptiveAvgPool2d, shape: torch.Size) -> nn.Module:
    sides: Any = layer.output_size
    wanted = sides[0] if isinstance(sides, tuple) else sides
    if wanted == shape[2]:
        return nn.Identity()
    if wanted == 1:
        return Mean(shape[2])
    raise UserError(f"options.window: averages {shape[2]} cells to {wanted} there, which does not slide; use another")


def dilate(body: Sliding) -> None:
    """Replace every stride by a dilation of what follows: a cell every pixel, from the same weights.

    There may be more cells than windows: the last ones are of windows that reach past the image.
    UserError for a network with a stride that no module names.
    """
    sides = (body.window, body.window + WIDER_PX)
    near, far = (_inputs(body.network, body.channels, side) for side in sides)
    for name, shape in near.items():
        grown = far[name][2] - shape[2] if len(shape) == 4 else 0
        if grown:
            _spread(body.network, name, WIDER_PX // grown)
    one, more = (_outputs(body.network, body.channels, side).shape[2] for side in sides)
    if more - one != WIDER_PX:
        raise UserError("options.way: this backbone has a stride that can't be dilated. Choose stitch.")
    body.stride = 1


def _spread(network: nn.Module, name: str, apart: int) -> None:
    """A layer whose inputs were side by side, and now lie `apart` pixels apart; its outputs lie a pixel apart."""
    layer: Any = network.get_submodule(name)
    if isinstance(layer, nn.AvgPool2d):
        network.set_submodule(name, Mean(layer.kernel_size, apart))  # type: ignore[arg-type]
    elif isinstance(layer, nn.MaxPool2d):
        network.set_submodule(name, Largest(layer, apart))
    elif isinstance(layer, nn.Conv2d):
        for setting in ("dilation", "padding"):
            setattr(layer, setting, tuple(apart * side for side in getattr(layer, setting)))
        layer.stride = (1, 1)
    elif isinstance(layer, Mean | Window):
        layer.dilation = apart
    elif hasattr(layer, "stride"):
        layer.stride = 1
