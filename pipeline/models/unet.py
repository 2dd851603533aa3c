"""U-Net: a contracting path for context, an expanding path for resolution, and skips between them.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015,
https://arxiv.org/abs/1505.04597. Published: IoU 0.9203 on PhC-U373 and 0.7756 on DIC-HeLa.

Promise: with the paper's settings it has 23 convolutions and 31,030,658 parameters, and an image of 572×572 gives a
map of 388×388: no convolution is padded, so each prediction has its whole receptive field inside the image. Training
uses the middle of each image; to predict a whole image, its border is extended by mirroring. `padding: same` gives the
usual variant today, a map as large as the image. `norm: batch` adds batch normalisation to each 3×3 convolution and
removes its bias.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import centre, he_normal
from pipeline.models.parts.spec import Spec

TASKS = ("segmentation",)
PAPER = {"input": [1, 572, 572], "classes": 2, "options": {"padding": "valid"}, "parameters": 31_030_658}

#: levels with dropout, at the end of the contracting path, as in the network that the authors released
DROPOUT_LEVELS = 2


def build(
    spec: Spec,
    *,
    padding: str = "same",
    width: int = 64,
    depth: int = 4,
    norm: str = "none",
    dropout: float = 0.5,
    tile: int | None = None,
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S, or B×classes×(S−12·2^depth+8)² where `padding: valid`.

    width: channels of the first level, doubled at each of `depth` halvings · dropout: probability at the end of the
    contracting path · tile: with `padding: valid`, the side of the tiles in which a large image is predicted (the
    paper's overlap-tile), for less memory and the same result. S must halve evenly; the error names sizes that do.
    """
    for option, value, choices in (("padding", padding, ("same", "valid")), ("norm", norm, ("none", "batch"))):
        if value not in choices:
            raise UserError(f"options.{option}: {plugins.unknown(option, value, choices)}")
    if width < 1 or depth < 1:
        raise UserError(f"options: unet needs a width and a depth of at least 1, not width {width} and depth {depth}")
    sides = Sides(depth, padding == "valid")
    if tile is not None and (padding != "valid" or tile < 1 or tile % sides.step):
        raise UserError(f"options.tile: {tile} needs `padding: valid` and a multiple of {sides.step}")
    if not sides.fits(spec.size):
        near = " or ".join(str(side) for side in sides.near(spec.size))
        raise UserError(f"size: {spec.size} does not halve evenly {depth} times in unet; use {near}")
    network = he_normal(UNet(spec, sides, width, norm == "batch", dropout, tile))
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):  # kernels do not overlap: the fan-in is one value per channel
            nn.init.normal_(layer.weight, std=(2 / layer.in_channels) ** 0.5)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return network


class Sides:
    """Image sides in pixels that halve evenly at every level, and how many pixels an unpadded network loses."""

    def __init__(self, depth: int, valid: bool) -> None:
        self.step = 2**depth
        self.lost = 12 * self.step - 8 if valid else 0
        #: at each level two unpadded convolutions take four pixels before the side is halved
        self.offset = 4 if valid else 0

    def fits(self, side: int) -> bool:
        """Whether every pooling divides its input evenly and the output is not empty."""
        return (side + self.offset) % self.step == 0 and side > self.lost

    def at_least(self, side: int) -> int:
        """The smallest side of at least `side` that fits."""
        side = max(side, self.lost + 1)
        return -(-(side + self.offset) // self.step) * self.step - self.offset

    def near(self, side: int) -> list[int]:
        """The sides nearest to one that does not fit."""
        above = self.at_least(side)
        return [candidate for candidate in (above - self.step, above) if self.fits(candidate)]


class UNet(nn.Module):
    """Pairs of 3×3 convolutions at depth + 1 levels; skips concatenate each level's features in the expanding path."""

    def __init__(
        self, spec: Spec, sides: Sides, width: int, norm: bool, dropout: float, tile: int | None = None
    ) -> None:
        super().__init__()
        self.sides, self.tile = sides, tile
        padding = 0 if sides.lost else 1
        depth = sides.step.bit_length() - 1
        widths = [spec.channels, *(width * 2**level for level in range(depth + 1))]
        self.down = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(pairwise(widths)):
            has_dropout = level > depth - DROPOUT_LEVELS
            self.down.append(_pair(inputs, outputs, padding, norm, dropout if has_dropout else 0))
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for outputs in widths[-2:0:-1]:
            self.up.append(nn.ConvTranspose2d(2 * outputs, outputs, 2, stride=2))
            self.join.append(_pair(2 * outputs, outputs, padding, norm, 0))
        self.output = nn.Conv2d(width, spec.classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """B×C×S×S → logits B×classes×S'×S'; without padding those of the middle of the image."""
        skips = [self.down[0](images)]
        for block in self.down[1:]:
            skips.append(block(F.max_pool2d(skips[-1], 2)))
        features = skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            features = up(features)
            features = join(torch.cat([centre(skips.pop(), features), features], 1))
        logits: Tensor = self.output(features)
        return logits

    def whole(self, images: Tensor) -> Tensor:
        """B×C×H×W → logits of every pixel B×classes×H×W; the border is mirrored as in the paper."""
        if not self.sides.lost:
            logits: Tensor = self(images)
            return logits
        mirrored = images
        for axis in (2, 3):
            side = images.shape[axis]
            border = self.sides.at_least(side + self.sides.lost) - side
            index = np.pad(np.arange(side), (border // 2, border - border // 2), mode="reflect")
            mirrored = mirrored.index_select(axis, torch.from_numpy(index).to(images.device))
        return centre(self(mirrored) if self.tile is None else self._tiled(mirrored, self.tile), images)

    def _tiled(self, images: Tensor, tile: int) -> Tensor:
        """The same as `self(images)`, computed in tiles aligned with the windows of the coarsest pooling."""
        lost = self.sides.lost
        least = self.sides.at_least(0) - lost  # a tile's side is this plus a multiple of the step
        height, width = (side - lost for side in images.shape[2:])
        logits = images.new_empty(len(images), self.output.out_channels, height, width)
        for top in range(0, max(1, height - least), tile):
            for left in range(0, max(1, width - least), tile):
                bottom, right = min(top + tile + least, height), min(left + tile + least, width)
                logits[..., top:bottom, left:right] = self(images[..., top : bottom + lost, left : right + lost])
        return logits


def _pair(inputs: int, outputs: int, padding: int, norm: bool, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=padding, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)
