"""U-Net is the published network: counts, sides, crops, mirroring, dropout and initial weights."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models import unet
from pipeline.models.parts.layers import centre
from pipeline.models.parts.spec import Spec


def build(channels: int = 1, classes: int = 2, size: int = 572, **options: object) -> unet.UNet:
    network = unet.build(Spec("segmentation", classes, channels, size), **options)  # type: ignore[arg-type]
    assert isinstance(network, unet.UNet)
    return network


def small(padding: str, size: int, **options: object) -> unet.UNet:
    torch.manual_seed(0)
    return build(2, 3, size, padding=padding, width=4, depth=2, dropout=0, **options).eval()


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("channels", "classes", "norm", "expected"),
    [
        (1, 2, "none", 31_030_658),
        (1, 1, "none", 31_030_593),
        (3, 21, "none", 31_033_045),
        (3, 2, "batch", 31_037_698),
        (3, 1, "batch", 31_037_633),
    ],
)
def test_published_parameters(channels: int, classes: int, norm: str, expected: int) -> None:
    with torch.device("meta"):
        for padding, size in (("valid", 572), ("same", 512)):
            assert parameters(build(channels, classes, size, padding=padding, norm=norm)) == expected


def test_published_convolutions_and_maps() -> None:
    """Figure 1: the sides and channels after each block, and 23 convolutional layers in all."""
    with torch.device("meta"):
        network = build(padding="valid")
        shapes: list[tuple[int, ...]] = []
        blocks = [*network.down, *(block for pair in zip(network.up, network.join, strict=True) for block in pair)]
        for block in blocks:
            block.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:3])))
        assert network(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert shapes[:5] == [(64, 568), (128, 280), (256, 136), (512, 64), (1024, 28)]
    assert shapes[5:] == [(512, 56), (512, 52), (256, 104), (256, 100), (128, 200), (128, 196), (64, 392), (64, 388)]
    kinds = [type(layer) for layer in network.modules()]
    assert kinds.count(nn.Conv2d) + kinds.count(nn.ConvTranspose2d) == 23


def written_out(network: unet.UNet, images: torch.Tensor, padding: int) -> torch.Tensor:
    """The same network from its bare weights, step by step, with the crops of figure 1 in numbers."""
    weights = dict(network.named_parameters())

    def pair(name: str, features: torch.Tensor) -> torch.Tensor:
        for number in (0, 2):
            weight, bias = weights[f"{name}.{number}.weight"], weights[f"{name}.{number}.bias"]
            features = F.relu(F.conv2d(features, weight, bias, padding=padding))
        return features

    def up(number: int, features: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(features, weights[f"up.{number}.weight"], weights[f"up.{number}.bias"], stride=2)

    crops = (0, 0) if padding else (4, 16)
    first = pair("down.0", images)
    second = pair("down.1", F.max_pool2d(first, 2))
    features = up(0, pair("down.2", F.max_pool2d(second, 2)))
    features = pair("join.0", torch.cat([F.pad(second, [-crops[0]] * 4), features], 1))
    features = pair("join.1", torch.cat([F.pad(first, [-crops[1]] * 4), up(1, features)], 1))
    return F.conv2d(features, weights["output.weight"], weights["output.bias"])


@pytest.mark.parametrize(("padding", "size", "side"), [("valid", 60, 20), ("same", 32, 32)])
def test_forward_is_the_network_written_out(padding: str, size: int, side: int) -> None:
    network = small(padding, size)
    images = torch.rand(2, 2, size, size)
    logits = network(images)
    assert logits.shape == (2, 3, side, side)
    torch.testing.assert_close(logits, written_out(network, images, int(padding == "same")))


def test_the_middle_does_not_feel_the_border() -> None:
    """Unpadded, a pixel's logits are the same wherever in a larger image it lies."""
    network = small("valid", 60)
    images = torch.rand(1, 2, 76, 76)
    torch.testing.assert_close(network(images)[..., 8:-8, 8:-8], network(images[..., 8:-8, 8:-8]))


@pytest.mark.parametrize("size", [44, 60, 72])
def test_the_whole_image_is_predicted_by_mirroring(size: int) -> None:
    network = small("valid", size)
    images = torch.rand(2, 2, size, size)
    logits = network.whole(images)
    assert logits.shape == (2, 3, size, size)
    inner = network(images)
    torch.testing.assert_close(centre(logits, inner), inner)
    border = 20  # half of what is lost
    mirrored = np.pad(images.numpy(), [(0, 0), (0, 0), (border, border), (border, border)], mode="reflect")
    expected = network(torch.from_numpy(mirrored))
    torch.testing.assert_close(logits, centre(expected, images))


@torch.no_grad()
@pytest.mark.parametrize(("depth", "tile"), [(1, 2), (1, 20), (2, 4), (2, 12), (2, 400), (3, 16)])
def test_tiles_have_no_seam(depth: int, tile: int) -> None:
    """The result is that of the whole image in one pass, to the last digits of float64."""
    torch.manual_seed(0)
    sides = unet.Sides(depth, True)
    size = sides.at_least(70)
    options = {"padding": "valid", "width": 2, "depth": depth, "dropout": 0, "tile": tile}
    network = build(2, 3, size, **options).double().eval()
    images = torch.rand(2, 2, size, 46, dtype=torch.float64)
    sides_run: list[int] = []
    network.register_forward_pre_hook(lambda _module, inputs: sides_run.append(max(inputs[0].shape[2:])))
    logits = network.whole(images)
    assert (len(sides_run) > 1) == (tile < 70)
    assert max(sides_run) <= tile + sides.at_least(0)
    network.tile = None
    torch.testing.assert_close(logits, network.whole(images), rtol=1e-11, atol=1e-12)


@torch.no_grad()
def test_a_tile_that_began_between_the_poolings_windows_would_differ() -> None:
    network, images = small("valid", 72).double(), torch.rand(1, 2, 72, 72, dtype=torch.float64)
    logits = network(images)
    for start, same in ((4, True), (8, True), (1, False), (2, False)):
        part = network(images[..., start : start + 60, :60])
        side = part.shape[2]
        assert torch.allclose(part, logits[..., start : start + side, :side], rtol=1e-11) == same


@pytest.mark.parametrize("options", [{"tile": 16}, {"tile": 20, "padding": "valid"}, {"tile": 0, "padding": "valid"}])
def test_a_tile_that_would_have_seams_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"options\.tile: .* needs `padding: valid` and a multiple of 16"):
        unet.build(Spec("segmentation", 2, 1, 188), width=1, **options)


def test_the_papers_tile_is_mirrored_to_sides_that_halve_evenly() -> None:
    with torch.device("meta"):
        network = build(padding="valid", width=1)
        sides_run: list[torch.Size] = []
        network.register_forward_pre_hook(lambda _module, inputs: sides_run.append(inputs[0].shape))
        assert network.whole(torch.empty(1, 1, 188, 572)).shape == (1, 2, 188, 572)
    assert sides_run == [(1, 1, 380, 764)]  # 4 more than the 184 that are lost, on either side


def test_a_padded_network_predicts_the_whole_image_by_itself() -> None:
    network = small("same", 32)
    images = torch.rand(1, 2, 32, 48)
    assert torch.equal(network.whole(images), network(images))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_sides_are_those_that_run(depth: int, padding: str) -> None:
    """Measured with floor pooling: a side fits exactly if nothing was cut off at any pooling."""
    sides = unet.Sides(depth, padding == "valid")
    taken = 4 if padding == "valid" else 0

    def left(side: int, level: int) -> int:
        side -= taken
        if side < 1 or (level and side % 2):
            return -1000
        return 2 * left(side // 2, level - 1) - taken if level else side

    for side in range(1, 260):
        output_side = left(side, depth)
        assert sides.fits(side) == (output_side > 0), side
        assert not sides.fits(side) or output_side == side - sides.lost
        assert sides.fits(sides.at_least(side))


def test_he_initialisation_is_by_what_a_value_reads() -> None:
    torch.manual_seed(0)
    network = build(3, 2, 64, padding="same", width=32, depth=2)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            reads = layer.in_channels * (layer.kernel_size[0] ** 2 if isinstance(layer, nn.Conv2d) else 1)
            assert float(layer.weight.detach().std()) == pytest.approx((2 / reads) ** 0.5, rel=0.15)
            assert layer.bias is not None
            assert not layer.bias.detach().any()


def test_activations_keep_their_scale_through_the_network() -> None:
    """The point of that initialisation: 23 layers deep, logits neither vanish nor explode."""
    torch.manual_seed(0)
    network = build(3, 2, 64, padding="same", width=16, dropout=0)
    strength = float(network(torch.randn(2, 3, 64, 64)).detach().std())
    assert 0.3 < strength < 10


def test_dropout_is_at_the_end_of_the_contracting_path() -> None:
    torch.manual_seed(0)
    network = build(1, 2, 64, padding="same", width=4, dropout=0.5)
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Dropout)]
    assert names == ["down.3.4", "down.4.4"]
    images = torch.rand(1, 1, 64, 64)
    assert not torch.equal(network.train()(images), network(images))
    assert torch.equal(network.eval()(images), network(images))
    plain = build(1, 2, 64, padding="same", width=2, dropout=0)
    assert not [layer for layer in plain.modules() if isinstance(layer, nn.Dropout)]


def test_with_batch_normalisation_convolutions_have_no_bias() -> None:
    network = build(1, 2, 64, padding="same", width=4, norm="batch")
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    biased = [
        name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d) and layer.bias is not None
    ]
    assert (len(norms), biased) == (18, ["output"])


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(UserError, match="size: 128 does not halve evenly 4 times in unet; use 188"):
        build(size=128, padding="valid")
    with pytest.raises(UserError, match="size: 570 does not halve evenly 4 times in unet; use 556 or 572"):
        build(size=570, padding="valid")
    with pytest.raises(UserError, match="size: 70 does not halve evenly 4 times in unet; use 64 or 80"):
        build(size=70)
    with pytest.raises(UserError, match=r"options\.padding: no padding is named 'vald'; did you mean 'valid'"):
        build(padding="vald")
    with pytest.raises(UserError, match=r"options\.norm: no norm is named 'group'"):
        build(norm="group")
    with pytest.raises(UserError, match="not width 64 and depth 0"):
        build(depth=0)
