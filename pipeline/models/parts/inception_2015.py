"""The Inception network whose features the published FIDs are of: trained in 2015, and never since.

Szegedy et al.: Rethinking the Inception Architecture for Computer Vision, CVPR 2016, https://arxiv.org/abs/1512.00567.
The weights are those of TensorFlow's graph of 2015-12-05, which Heusel et al. 2017 measured with
(https://arxiv.org/abs/1706.08500), as pytorch-fid and torch-fidelity publish them.

Promise: 1,008 classes from 3×299×299 in −1..1, names of weights as in torchvision's inception_v3, from which it differs
as the graph does: means next to the border leave out what is not there, the last block takes a maximum where the others
take a mean, and there is no auxiliary classifier. `resized` is TensorFlow 1's bilinear, whose pixels have corners where
others' have centres.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from pipeline.models.parts.spec import Anatomy

CLASSES, SIZE, FEATURES = 1008, 299, 2048
#: a convolution: its name, maps, window and stride
Step = tuple[str, int, tuple[int, int], int]
#: steps one after the other; a list within is done side by side
Branch = list[Step | list[Step]]


class Unit(nn.Module):
    """Convolution without bias, batch normalisation, rectifier."""

    def __init__(
        self, inputs: int, maps: int, window: tuple[int, int], stride: int = 1, *, padded: bool = True
    ) -> None:
        super().__init__()
        padding = (window[0] // 2, window[1] // 2) if padded else 0
        self.conv = nn.Conv2d(inputs, maps, window, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(maps, eps=0.001)

    def forward(self, images: Tensor) -> Tensor:
        """B×inputs×H×W → B×maps×H'×W'."""
        return relu(self.bn(self.conv(images)))


class Block(nn.Module):
    """Branches side by side, and a pooled one: the maps of all of them."""

    def __init__(self, inputs: int, branches: list[Branch], pooled: int = 0, *, largest: bool = False) -> None:
        """pooled: maps of a 1×1 convolution behind the pool; 0 for a pool that halves · largest: maximum, not mean."""
        super().__init__()
        self.paths = [[*self._add(inputs, branch)] for branch in branches]
        self.halves, self.largest = not pooled, largest or not pooled
        if pooled:
            self.branch_pool = Unit(inputs, pooled, (1, 1))

    def _add(self, maps: int, branch: Branch) -> Iterator[list[str]]:
        """Add the units of a branch; the names of each step's."""
        for entry in branch:
            steps = entry if isinstance(entry, list) else [entry]
            for name, outer, window, stride in steps:
                self.add_module(f"branch{name}", Unit(maps, outer, window, stride, padded=stride == 1))
            maps = sum(outer for _, outer, _, _ in steps)
            yield [f"branch{name}" for name, *_ in steps]

    def forward(self, images: Tensor) -> Tensor:
        """B×inputs×H×W → B×maps×H'×W'."""
        found = []
        for path in self.paths:
            values = images
            for names in path:
                values = torch.cat([self.get_submodule(name)(values) for name in names], dim=1)
            found.append(values)
        stride, padding = (2, 0) if self.halves else (1, 1)
        if self.largest:
            pooled = max_pool2d(images, 3, stride, padding)
        else:
            pooled = avg_pool2d(images, 3, stride, padding, count_include_pad=False)
        found.append(pooled if self.halves else self.branch_pool(pooled))
        return torch.cat(found, dim=1)


def _double(maps: int, last: int, stride: int = 1) -> Branch:
    return [("3x3dbl_1", 64, (1, 1), 1), ("3x3dbl_2", maps, (3, 3), 1), ("3x3dbl_3", last, (3, 3), stride)]


def _small(inputs: int, pooled: int) -> Block:
    five: Branch = [("5x5_1", 48, (1, 1), 1), ("5x5_2", 64, (5, 5), 1)]
    return Block(inputs, [[("1x1", 64, (1, 1), 1)], five, _double(96, 96)], pooled)


def _halving(inputs: int) -> Block:
    return Block(inputs, [[("3x3", 384, (3, 3), 2)], _double(96, 96, 2)])


def _long(inputs: int, maps: int) -> Block:
    """Windows of 7×1 and 1×7 in place of 7×7."""
    wide, high = (1, 7), (7, 1)
    once: Branch = [("7x7_1", maps, (1, 1), 1), ("7x7_2", maps, wide, 1), ("7x7_3", 192, high, 1)]
    twice: Branch = [("7x7dbl_1", maps, (1, 1), 1)]
    for number, (window, outer) in enumerate(((high, maps), (wide, maps), (high, maps), (wide, 192)), start=2):
        twice.append((f"7x7dbl_{number}", outer, window, 1))
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
    """B×3×299×299 in −1..1 → logits B×1008; `fc` reads the 2,048 features."""

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
    """The network with a file's weights, which are a state_dict."""
    network = Inception()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.eval()


def resized(images: Tensor) -> Tensor:
    """B×C×H×W → B×C×299×299: pixel i of the result is the image at i·H/299, between its two neighbours."""
    for dimension in (2, 3):
        length = images.shape[dimension]
        places = torch.arange(SIZE, dtype=torch.float32, device=images.device) * (length / SIZE)
        low = places.long()
        share = (places - low).view(-1, 1) if dimension == 2 else places - low
        near, far = images.index_select(dimension, low), images.index_select(dimension, (low + 1).clamp(max=length - 1))
        images = near + (far - near) * share
    return images
