"""Counts agree with published numbers, with hand work, and with what a real network does."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.count.layers import count


class Branching(nn.Module):
    """Two branches that are concatenated, a residual sum, an upsampling, and a matrix product without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 4, 3, padding=2, dilation=2, groups=4)
        self.narrow = nn.Conv2d(8, 4, 1)
        self.pool = nn.AvgPool2d(2)
        self.same = nn.Conv2d(8, 8, (3, 1), padding=(1, 0))
        self.up = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1)
        self.mix = nn.Parameter(torch.ones(6, 5))

    def forward(self, images: Tensor) -> Tensor:
        stem = F.relu(self.norm(self.stem(images)))
        joined = self.pool(torch.cat([self.wide(stem), self.narrow(stem)], 1))
        return (self.up(joined + self.same(joined)).movedim(1, -1) @ self.mix).movedim(-1, 1)


def on_meta(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).to("meta")


def vgg16() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


def test_branching_network_by_hand() -> None:
    counted = count(Branching().to("meta"), 3, 32)
    parameters = {
        "": 30,
        "stem": 216,
        "norm": 16,
        "wide": 4 * (2 * 9 + 1),
        "narrow": 36,
        "same": 8 * 25,
        "up": 8 * 96 + 6,
    }
    assert {row.name: row.parameters for row in counted.modules if row.parameters} == parameters
    multiply_adds = {
        "stem": 16 * 16 * 8 * 27,
        "wide": 16 * 16 * 4 * 18,
        "narrow": 16 * 16 * 4 * 8,
        "same": 8 * 8 * 8 * 24,
        "up": 8 * 8 * 8 * 6 * 16,
        "": 16 * 16 * 5 * 6,
    }
    assert {row.name: row.multiply_adds for row in counted.modules if row.multiply_adds} == multiply_adds
    assert (counted.parameters, counted.multiply_adds) == (sum(parameters.values()), sum(multiply_adds.values()))
    activations = 16 * 16 * (8 + 8 + 4 + 4) + 8 * 8 * (8 + 8) + 16 * 16 * 6
    assert counted.activation_bytes == 4 * activations


def test_receptive_field_is_what_gradients_reach() -> None:
    """Measured on real tensors with positive weights, where nothing cancels: the tallest reach of any output pixel."""
    network = Branching().eval()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    output = network(images)
    reach = 0
    for row in range(output.shape[2] // 2 - 4, output.shape[2] // 2 + 4):
        (gradient,) = torch.autograd.grad(output[0, :, row, 16].sum(), images, retain_graph=True)
        rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
        reach = max(reach, int(rows.max() - rows.min()) + 1)
    counted = count(Branching().to("meta"), 3, 64)
    assert (counted.receptive_field, counted.stride) == (reach, 2)


@pytest.mark.parametrize(
    ("layers", "field", "stride"),
    [
        ([nn.Conv2d(1, 1, 3) for _ in range(3)], 7, 1),
        ([nn.Conv2d(1, 1, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1)], 11, 4),
        ([nn.Conv2d(1, 1, 3, dilation=4)], 9, 1),
        ([nn.Conv2d(1, 1, 2, stride=2), nn.ConvTranspose2d(1, 1, 2, stride=2)], 2, 1),
        ([nn.AvgPool2d(4), nn.Upsample(scale_factor=2, mode="bilinear")], 8, 2),
        ([nn.ConvTranspose2d(1, 1, 2, stride=2)], 1, 0.5),
        ([nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 4)], 3, 1),
        ([nn.Conv2d(1, 1, 3), nn.AvgPool2d(62), nn.Flatten()], 3, 1),
        ([nn.AdaptiveAvgPool2d(32)], 2, 2),
        ([nn.Flatten(), nn.Linear(64 * 64, 4)], None, None),
    ],
)
def test_receptive_field_by_hand(layers: list[nn.Module], field: int | None, stride: float | None) -> None:
    counted = count(on_meta(*layers), 1, 64)
    assert (counted.receptive_field, counted.stride) == (field, stride)


def test_vgg16_as_published() -> None:
    with torch.device("meta"):
        head = [nn.Flatten(), nn.Linear(512 * 49, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 1000)]
        counted = count(nn.Sequential(*vgg16(), *head), 3, 224)
    assert (counted.receptive_field, counted.stride) == (212, 32)
    convolutions = sum(row.parameters for row in counted.modules if row.type == "Conv2d")
    assert (convolutions, counted.parameters) == (14_714_688, 138_357_544)
    assert counted.multiply_adds == 15_470_264_320


def test_a_layer_used_twice_is_held_once_and_run_twice() -> None:
    layer = nn.Conv2d(2, 2, 3, padding=1)
    (row,) = count(on_meta(layer, layer), 2, 8).modules
    assert (row.parameters, row.multiply_adds, row.receptive_field) == (2 * 19, 2 * 64 * 36, 5)


class Attention(nn.Module):
    """Self-attention over the cells of a feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images)
        tokens = patches.flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens)
        return mixed.transpose(1, 2).unflatten(2, patches.shape[2:])


def test_attention_is_counted_and_has_no_receptive_field() -> None:
    with torch.device("meta"):
        counted = count(Attention(), 3, 32)
    tokens = 8 * 8
    projections, products = 4 * tokens * 8 * 8, 2 * tokens * tokens * 8
    assert counted.multiply_adds == tokens * 8 * 3 * 16 + projections + products
    assert counted.parameters == 8 * (3 * 16 + 1) + 4 * 8 * (8 + 1)
    assert (counted.receptive_field, counted.stride) == (None, None)
    (patches,) = [row for row in counted.modules if row.name == "patches"]
    assert (patches.receptive_field, patches.stride) == (4, 4)


@pytest.mark.parametrize(
    ("mix", "field"),
    [
        (lambda values: torch.einsum("bchw,bdhw->bcd", values, values), None),
        (lambda values: values.flatten(2).transpose(1, 2) @ values.flatten(2), None),
        (lambda values: torch.roll(values, 1, 2), None),
        (lambda values: F.scaled_dot_product_attention(values, values, values), None),
        (lambda values: torch.einsum("bchw,cd->bdhw", values, torch.ones(2, 5, device="meta")), 3),
        (lambda values: values * values.mean((2, 3), keepdim=True), 3),
    ],
)
def test_products_of_features_have_no_receptive_field(mix: Callable[[Tensor], Tensor], field: int | None) -> None:
    class Mix(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return mix(values)

    counted = count(on_meta(nn.Conv2d(1, 2, 3), Mix()), 1, 8)
    assert counted.receptive_field == field


def test_a_layer_of_ones_own_is_counted() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(5))

        def forward(self, images: Tensor) -> Tensor:
            return images * self.factor.sum()

    counted = count(on_meta(nn.Conv2d(1, 1, 3), Scale()), 1, 8)
    assert counted.parameters == 10 + 5
    assert {row.name: row.parameters for row in counted.modules} == {"0": 10, "1": 5}


def test_tied_weights_are_counted_once() -> None:
    with torch.device("meta"):
        first, second = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
    second.weight = first.weight
    assert count(nn.Sequential(first, second), 1, 8).parameters == 9 + 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "multiply_adds"),
    [("resnet18", 1_814_073_344), ("resnet50", 4_089_184_256), ("densenet121", 2_834_161_664)],
)
def test_torchvision(name: str, multiply_adds: int) -> None:
    """torchvision prints GMACs (its `_ops`) and parameters of each of its networks."""
    from torchvision import models

    with torch.device("meta"):
        network = models.get_model(name)
    published = models.get_model_weights(name).DEFAULT.meta
    counted = count(network, 3, 224)
    assert counted.multiply_adds == multiply_adds
    assert round(counted.multiply_adds / 1e9, 3) == published["_ops"]
    assert counted.parameters == published["num_params"]
