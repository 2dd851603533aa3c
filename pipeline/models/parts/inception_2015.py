"""The Inception network that published FIDs use: its weights are from 2015.

Szegedy et al.: Rethinking the Inception Architecture for Computer Vision, CVPR 2016, https://arxiv.org/abs/1512.00567.
The weights are those of TensorFlow's graph of 2015-12-05, as in Heusel et al. 2017 (https://arxiv.org/abs/1706.08500);
pytorch-fid and torch-fidelity publish them.

Promise: 1,008 classes from 3×299×299 in −1..1. Weights have the names of torchvision's inception_v3, from which it
differs as the graph does: average pooling excludes the padding, the last block uses max pooling where the others use
average pooling, and there is no auxiliary classifier. `resized` is TensorFlow 1's bilinear resize, which aligns pixels
by corners and not by centres.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from pipeline.models.parts.spec import Anatomy

CLASSES, SIZE, FEATURES = 1008, 299, 2048
#: a convolution: its name, channels, kernel size and stride
Step = tuple[str, int, tuple[int, int], int]
#: steps in sequence; the steps of an inner list run in parallel and are concatenated
Branch = list[Step | list[Step]]


class Unit(nn.Module):
    """Convolution without bias, batch normalisation, rectifier."""

    def __init__(
        self, inputs: int, channels: int, kernel: tuple[int, int], stride: int = 1, *, padded: bool = True
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else 0
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, images: Tensor) -> Tensor:
        """B×inputs×H×W → B×channels×H'×W'."""
        return relu(self.bn(self.conv(images)))


class Block(nn.Module):
    """Parallel branches and a pooling branch; their channels are concatenated."""

    def __init__(self, inputs: int, branches: list[Branch], pooled: int = 0, *, largest: bool = False) -> None:
        """pooled: channels of a 1×1 convolution after pooling; 0: pooling halves the map · largest: max pooling."""
        super().__init__()
        self.paths = [[*self._add(inputs, branch)] for branch in branches]
        self.halves, self.largest = not pooled, largest or not pooled
        if pooled:
            self.branch_pool = Unit(inputs, pooled, (1, 1))

    def _add(self, channels: int, branch: Branch) -> Iterator[list[str]]:
        """Add the units of a branch to the module; yield the names of each step's units."""
        for entry in branch:
            steps = entry if isinstance(entry, list) else [entry]
            for name, outputs, kernel, stride in steps:
                self.add_module(f"branch{name}", Unit(channels, outputs, kernel, stride, padded=stride == 1))
            channels = sum(outputs for _, outputs, _, _ in steps)
            yield [f"branch{name}" for name, *_ in steps]

    def forward(self, images: Tensor) -> Tensor:
        """B×inputs×H×W → B×channels×H'×W'."""
        outputs = []
        for path in self.paths:
            values = images
            for names in path:
                values = torch.cat([self.get_submodule(name)(values) for name in names], dim=1)
            outputs.append(values)
        stride, padding = (2, 0) if self.halves else (1, 1)
        if self.largest:
            pooled = max_pool2d(images, 3, stride, padding)
        else:
            pooled = avg_pool2d(images, 3, stride, padding, count_include_pad=False)
        outputs.append(pooled if self.halves else self.branch_pool(pooled))
        return torch.cat(outputs, dim=1)


def _double(channels: int, last: int, stride: int = 1) -> Branch:
    return [("3x3dbl_1", 64, (1, 1), 1), ("3x3dbl_2", channels, (3, 3), 1), ("3x3dbl_3", last, (3, 3), stride)]


def _small(inputs: int, pooled: int) -> Block:
    five: Branch = [("5x5_1", 48, (1, 1), 1), ("5x5_2", 64, (5, 5), 1)]
    return Block(inputs, [[("1x1", 64, (1, 1), 1)], five, _double(96, 96)], pooled)


def _halving(inputs: int) -> Block:
    return Block(inputs, [[("3x3", 384, (3, 3), 2)], _double(96, 96, 2)])


def _long(inputs: int, channels: int) -> Block:
    """A block with 7×1 and 1×7 kernels instead of 7×7."""
    wide, high = (1, 7), (7, 1)
    once: Branch = [("7x7_1", channels, (1, 1), 1), ("7x7_2", channels, wide, 1), ("7x7_3", 192, high, 1)]
    twice: Branch = [("7x7dbl_1", channels, (1, 1), 1)]
    steps = ((high, channels), (wide, channels), (high, channels), (wide, 192))
    for number, (kernel, outputs) in enumerate(steps, start=2):
        twice.append((f"7x7dbl_{number}", outputs, kernel, 1))
    return Block(inputs, [[("1x1", 192, (1, 1), 1)], once, twice], 192)


def _halving_late(inputs: int) -> Block:
    once: Branch = [("3x3_1", 192, (1, 1), 1), ("3x3_2", 320, (3, 3), 2)]
    long: Branch = [("7x7x3_1", 192, (1, 1), 1), ("7x7x3_2", 192, (1, 7), 1), ("7x7x3_3", 192, (7, 1), 1)]
    return Block(inputs, [once, [*long, ("7x7x3_4", 192, (3, 3), 2)]])


def _wide(inputs: int, *, largest: bool = False) -> Block:
    def pair(name: str) -> list[Step]:
        return [(f"{name}a", 384, (1, 3), 1), (f"{name}b", 384, (3, 1), 1)]

    once: Branch = [("3x3_1", 384, (1, 1), 1), pair("3x3_2")]
    twice: Branch = [("3x3dbl_1", 448, (1, 1), 1), ("3x3dbl_2", 384, (3, 3), 1), pair("3x3dbl_3")]
    return Block(inputs, [[("1x1", 320, (1, 1), 1)], once, twice], 192, largest=largest)


class Inception(nn.Sequential):
    """Images B×3×299×299 in −1..1 → logits B×1008; `fc` reads the 2,048 features."""

    def __init__(self) -> None:
        super().__init__()
        plain: dict[str, nn.Module] = {
            "Conv2d_1a_3x3": Unit(3, 32, (3, 3), 2, padded=False),
            "Conv2d_2a_3x3": Unit(32, 32, (3, 3), padded=False),
            "Conv2d_2b_3x3": Unit(32, 64, (3, 3)),
            "pool1": nn.MaxPool2d(3, 2),
            "Conv2d_3b_1x1": Unit(64, 80, (1, 1)),
            "Conv2d_4a_3x3": Unit(80, 192, (3, 3), padded=False),
            "pool2": nn.MaxPool2d(3, 2),
        }
        blocks = {
            "5b": _small(192, 32), "5c": _small(256, 64), "5d": _small(288, 64), "6a": _halving(288),
            "6b": _long(768, 128), "6c": _long(768, 160), "6d": _long(768, 160), "6e": _long(768, 192),
            "7a": _halving_late(768), "7b": _wide(1280), "7c": _wide(2048, largest=True),
        }  # fmt: skip
        plain |= {f"Mixed_{name}": block for name, block in blocks.items()}
        plain |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(FEATURES, CLASSES)}
        for name, module in plain.items():
            self.add_module(name, module)
        self.__dict__["anatomy"] = Anatomy(head="fc")


def read(file: Path) -> Inception:
    """Build the network and load its weights from a file with a state_dict."""
    network = Inception()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.eval()


def resized(images: Tensor) -> Tensor:
    """B×C×H×W → B×C×299×299: pixel i of the result interpolates the image at i·H/299."""
    for dimension in (2, 3):
        length = images.shape[dimension]
        positions = torch.arange(SIZE, dtype=torch.float32, device=images.device) * (length / SIZE)
        low = positions.long()
        weight = (positions - low).view(-1, 1) if dimension == 2 else positions - low
        near, far = images.index_select(dimension, low), images.index_select(dimension, (low + 1).clamp(max=length - 1))
        images = near + (far - near) * weight
    return images
