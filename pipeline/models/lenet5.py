"""LeNet-5, the convolutional network for reading digits on cheques.

LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86 (1998),
section II-B, http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf. Published: 0.95 % error on MNIST.

Promise: `variant: paper` has the published 60,000 trainable parameters: trainable subsampling, the partial
connections of table I, scaled tanh, and distances to bitmaps of digits as output. `variant: modern` is the usual
variant today, 61,706 parameters for one channel and ten classes: ReLU, max pooling, full connections, a linear output.
Both keep that number at every image size: C5 stays a 5×5 convolution, and its positions are averaged (there is
one at the paper's 32×32).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import chain, groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import he_normal
from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [1, 28, 28], "classes": 10, "options": {"variant": "paper"}, "parameters": 60_000}
LEVELS = ("c1", "c3", "c5")
HEAD = "output"

SMALLEST = 28
#: side of the published input; smaller images are padded to it
PADDED = 32

#: table I: the channels of S2 that each channel of C3 reads
CONNECTIONS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

#: bitmaps of the digits 0 to 9, 7 wide and 12 high: the target outputs of F6
BITMAPS = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
..###.. ...#... .#####. .#####. .....#. ####### ..####. ####### ..###.. ..###..
.#...#. ..##... ##...## ##...## ....##. ##..... .##.... ##...## .##.##. .#...##
##...## .###... #.....# .....## ...###. ##..... ##..... .....#. ##...## ##...##
#.....# ...#... .....## ....##. ..##.#. ##..... ##..... ....##. .##.##. ##...##
#.....# ...#... ....##. ..####. .##..#. ######. ######. ...##.. ..###.. .######
#.....# ...#... ...##.. .....## ##...#. .....## ##...## ..####. .##.##. ..##.##
#.....# ...#... ..##... ......# ####### ......# ##...## ..##... ##...## .....##
##...## ...#... .##.... ##....# .....#. ##....# ##...## ..##... #.....# ....##.
.#...#. ...#... ##...## .##..## .....#. .##..## .##.##. ..##... ##...## ...##..
..###.. .#####. ####### ..####. .....#. ..####. ..###.. ..##... .#####. ..##...
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def build(spec: Spec, *, variant: str = "modern") -> nn.Module:
    """Images B×C×S×S, S at least 28 → logits B×classes."""
    variants: dict[str, Callable[[Spec], OrderedDict[str, nn.Module]]] = {"modern": _modern, "paper": _paper}
    if variant not in variants:
        raise UserError(f"options.variant: {plugins.unknown('variant', variant, variants)}")
    if spec.size < SMALLEST:
        raise UserError(f"size: {spec.size} is too small for lenet5; use at least {SMALLEST}")
    network = nn.Sequential(OrderedDict(pad=_padding(spec.size), **variants[variant](spec)))
    return network.apply(_init_weights) if variant == "paper" else he_normal(network)


def _padding(size: int) -> nn.Module:
    """Padding to 32×32 that repeats the image's edge, which is background in the paper's digits."""
    missing = max(0, PADDED - size)
    before = missing // 2
    return nn.ReplicationPad2d((before, missing - before, before, missing - before))


def _modern(spec: Spec) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        c1=nn.Sequential(nn.Conv2d(spec.channels, 6, 5), nn.ReLU()),
        s2=nn.MaxPool2d(2),
        c3=nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU()),
        s4=nn.MaxPool2d(2),
        c5=nn.Sequential(nn.Conv2d(16, 120, 5), nn.ReLU()),
        f6=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(120, 84), nn.ReLU()),
        output=nn.Linear(84, spec.classes),
    )


def _paper(spec: Spec) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        c1=nn.Sequential(nn.Conv2d(spec.channels, 6, 5), ScaledTanh()),
        s2=nn.Sequential(Subsampling(6), ScaledTanh()),
        c3=nn.Sequential(PartialConv2d(CONNECTIONS, 5), ScaledTanh()),
        s4=nn.Sequential(Subsampling(16), ScaledTanh()),
        c5=nn.Sequential(nn.Conv2d(16, 120, 5), ScaledTanh()),
        f6=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(120, 84), ScaledTanh()),
        output=Distance(spec.classes),
    )


class ScaledTanh(nn.Module):
    """1.7159·tanh(2x/3): it maps ±1 to ±1, so that targets of ±1 do not saturate it."""

    def forward(self, values: Tensor) -> Tensor:
        """Any shape → the same shape, within ±1.7159."""
        return 1.7159 * torch.tanh(values * (2 / 3))


class Subsampling(nn.Module):
    """The sum of each 2×2 neighbourhood times a coefficient plus a bias; both are trained, one pair per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.coefficient = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """B×C×H×W → B×C×H/2×W/2."""
        return F.avg_pool2d(features, 2, divisor_override=1) * self.coefficient + self.bias


class PartialConv2d(nn.Module):
    """A convolution whose output channel `o` reads only the input channels `table[o]` and has weights for those alone.

    Neighbouring rows of the table with equally many input channels are one grouped convolution.
    """

    def __init__(self, table: Sequence[tuple[int, ...]], kernel: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        for reads, group in groupby(table, key=len):
            rows = list(group)
            self.register_buffer(f"sources{len(self.parts)}", torch.tensor([*chain(*rows)]), persistent=False)
            self.parts.append(nn.Conv2d(reads * len(rows), len(rows), kernel, groups=len(rows)))

    def forward(self, features: Tensor) -> Tensor:
        """B×C×H×W → B×len(table)×(H−kernel+1)×(W−kernel+1)."""
        sources = (self.get_buffer(f"sources{number}") for number in range(len(self.parts)))
        pairs = zip(self.parts, sources, strict=True)
        return torch.cat([part(features.index_select(1, source)) for part, source in pairs], 1)


class Distance(nn.Module):
    """The paper's RBF output: minus the squared distance between F6 and a fixed pattern of 84 ±1 per class."""

    patterns: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        patterns = digit_patterns() if classes == 10 else [hashed_pattern(number) for number in range(classes)]
        self.register_buffer("patterns", torch.tensor(patterns, dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        """B×84 → B×classes; 0 where the input equals the pattern."""
        return -(values[:, None] - self.patterns).square().sum(-1)


def digit_patterns() -> list[list[int]]:
    """Patterns of the ten digits, 84 values each, row by row: 1 for ink, −1 for paper."""
    lines = [line.split() for line in BITMAPS.split("\n") if line]
    return [[1 if dot == "#" else -1 for line in lines for dot in line[digit]] for digit in range(10)]


def hashed_pattern(number: int) -> list[int]:
    """A fixed pattern of 84 ±1 for a class that is no digit; any two differ in about half of the values."""
    bits = int.from_bytes(hashlib.shake_128(str(number).encode()).digest(11))
    return [1 if bits >> bit & 1 else -1 for bit in range(84)]


def _init_weights(layer: nn.Module) -> None:
    """LeCun's rule: uniform within ±2.4 / fan-in, where a subsampling unit has four inputs."""
    if isinstance(layer, nn.Conv2d | nn.Linear | Subsampling):
        fan_in = 4 if isinstance(layer, Subsampling) else layer.weight[0].numel()
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -2.4 / fan_in, 2.4 / fan_in)
