"""A fully convolutional classifier gives each window the logits of that window alone; dilated, one per pixel."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models import heatmap, shift_and_stitch
from pipeline.models.parts.convolutionalize import Mean, Sliding, Window, build_sliding, dilate
from pipeline.models.parts.spec import Spec, build_network

CHANNELS, WINDOW = 1, 32
#: classifiers with a fully connected head, a global average, branches, ceiled and overlapping poolings
PADDED: dict[str, dict[str, Any]] = {
    "resnet": {"depth": 20, "width": 4},
    "nin": {"width": 24},
    "googlenet": {"width": 8, "stem": "cifar"},
    "alexnet": {"width": 12, "head_width": 16, "stem": "cifar"},
    "vgg": {"config": "A", "width": 4, "head_width": 16},
    "densenet": {"depth": 22, "growth": 6, "stem": "imagenet"},
}
BACKBONES = {"lenet5": {}, **PADDED}


def classifier(name: str, window: int = WINDOW) -> nn.Module:
    torch.manual_seed(0)
    return build_network(name, Spec("classification", 5, CHANNELS, window), dict(BACKBONES[name])).eval()


def image(side: int) -> Tensor:
    return torch.randn(1, CHANNELS, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def one_by_one(network: nn.Module, images: Tensor, stride: int, cells: int) -> Tensor:
    """The classifier's logits of every window in turn: 1×K×cells×cells."""
    rows = [
        torch.cat(
            [
                network(images[..., top : top + WINDOW, left : left + WINDOW])
                for left in range(0, cells * stride, stride)
            ]
        )
        for top in range(0, cells * stride, stride)
    ]
    return torch.stack(rows).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_one_window_gives_the_classifiers_logits_from_the_same_weights(name: str) -> None:
    network = classifier(name)
    sliding = Sliding(deepcopy(network), CHANNELS, WINDOW).eval()
    kept = {key: value.shape for key, value in network.state_dict().items() if not key.startswith("aux")}
    assert {key: value.shape for key, value in sliding.network.state_dict().items()} == kept
    torch.testing.assert_close(sliding(image(WINDOW))[..., 0, 0], network(image(WINDOW)))


def test_sliding_is_exactly_window_after_window_where_nothing_is_padded() -> None:
    network = classifier("lenet5")
    sliding = Sliding(deepcopy(network), CHANNELS, WINDOW).double()
    network.double()
    images = image(WINDOW + 4 * sliding.stride).double()
    with torch.no_grad():
        torch.testing.assert_close(sliding(images), one_by_one(network, images, sliding.stride, 5), rtol=0, atol=1e-12)


def test_with_padding_a_window_within_an_image_sees_its_neighbours() -> None:
    """The control: a padded classifier sees zeros around a window, and pixels when it slides."""
    network = classifier("resnet")
    sliding = Sliding(deepcopy(network), CHANNELS, WINDOW)
    images = image(WINDOW + 4 * sliding.stride)
    with torch.no_grad():
        assert not torch.allclose(sliding(images), one_by_one(network, images, sliding.stride, 5), atol=1e-2)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_dilated_network_equals_the_strided_one_at_its_positions(name: str) -> None:
    strided = Sliding(classifier(name), CHANNELS, WINDOW)
    dense = deepcopy(strided)
    dilate(dense)
    strided.double(), dense.double()
    images, stride = image(WINDOW + 2 * strided.stride).double(), strided.stride
    with torch.no_grad():
        at_cells = dense(images)[..., ::stride, ::stride][..., :3, :3]
        torch.testing.assert_close(at_cells, strided(images), rtol=0, atol=1e-10)


def both_modes(name: str, size: int) -> tuple[nn.Module, nn.Module]:
    spec = Spec("segmentation", 5, CHANNELS, size)
    options = {"backbone": name, "backbone_options": BACKBONES[name], "window": WINDOW}
    stitched, dilated = (shift_and_stitch.build(spec, **options, mode=mode) for mode in ("stitch", "dilate"))  # type: ignore[arg-type]
    dilated.load_state_dict(stitched.state_dict())
    return stitched.double().eval(), dilated.double().eval()


def test_stitched_and_dilated_maps_are_equal_where_nothing_is_padded() -> None:
    stitched, dilated = both_modes("lenet5", 44)
    with torch.no_grad():
        one, other = stitched(image(44).double()), dilated(image(44).double())
    assert one.shape == (1, 5, 44, 44)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PADDED)
@torch.no_grad()
def test_a_dilated_network_that_pads_gives_the_window_of_every_pixel(name: str) -> None:
    stitched, dilated = both_modes(name, 44)
    images = image(44).double()
    assert dilated(images).shape == stitched(images).shape == (1, 5, 44, 44)
    body: Any = dilated.body
    cells = body(body.pad_border(images, stride=1))
    torch.testing.assert_close(dilated(images), cells[..., :44, :44], rtol=0, atol=1e-12)


@torch.no_grad()
def shift_after_shift(body: Sliding, images: Tensor) -> Tensor:
    """Stitching as in the paper: one pass per shifted image, whose cells are interlaced."""
    step, (high, wide) = body.stride, images.shape[2:]
    padded = body.pad_border(images, stride=1)
    dense = torch.zeros(len(images), 5, high, wide, dtype=images.dtype)
    for down in range(min(step, high)):
        for right in range(min(step, wide)):
            part = dense[..., down::step, right::step]
            part.copy_(body(padded[..., down:, right:])[..., : part.shape[2], : part.shape[3]])
    return dense


@pytest.mark.parametrize("per_pass", [1, 5, 64])
@pytest.mark.parametrize(("high", "wide"), [(44, 44), (45, 34), (3, 50)])
@torch.no_grad()
def test_shifts_in_one_pass_give_the_map_of_one_pass_each(
    per_pass: int, high: int, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shift_and_stitch, "IMAGES_PER_PASS", per_pass)
    stitched = both_modes("lenet5", 44)[0]
    images = torch.randn(2, CHANNELS, high, wide, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = shift_after_shift(stitched.body, images)  # type: ignore[arg-type]
    held: list[int] = []
    stitched.body.register_forward_pre_hook(lambda _body, inputs: held.append(len(inputs[0])))  # type: ignore[union-attr]
    torch.testing.assert_close(stitched(images), expected, rtol=0, atol=1e-12)
    assert sum(held) == 2 * 16
    assert max(held) <= max(per_pass, 2)
    assert len(held) == {1: 16, 5: 8, 64: 1}[per_pass]
    assert not torch.allclose(expected[..., 1:], expected[..., :-1], atol=1e-3)  # neighbours differ


def test_stitched_and_dilated_maps_are_equal_inside_the_border() -> None:
    """Padding differs near the border, as shifted images end elsewhere; one layer's padding reaches few pixels."""
    torch.manual_seed(0)
    small = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    body = Sliding(small, 1, 8)
    dilated = deepcopy(body)
    dilate(dilated)
    body.double(), dilated.double()
    images = image(40).double()
    with torch.no_grad():
        one, other = (shift_and_stitch.Dense(part)(images) for part in (body, dilated))
    inside = slice(8, -8)
    torch.testing.assert_close(one[..., inside, inside], other[..., inside, inside], rtol=0, atol=1e-12)
    assert not torch.allclose(one, other, atol=1e-6)


def test_a_heatmap_and_the_dense_map_share_weights_and_meet_at_the_cells_centres() -> None:
    spec = Spec("segmentation", 5, CHANNELS, 48)
    options: dict[str, Any] = {"backbone": "lenet5", "window": WINDOW}
    coarse = heatmap.build(spec, **options).double()
    dense = shift_and_stitch.build(spec, **options).double()
    dense.load_state_dict(coarse.state_dict())
    images = image(48).double()
    with torch.no_grad():
        cells = coarse.body(coarse.body.pad_border(images))  # type: ignore[operator, union-attr]
        pixels = dense(images)
    stride = 4
    # the centre of a cell lies between its second and third pixel, as a window's does: compare the second
    torch.testing.assert_close(pixels[..., 1::stride, 1::stride], cells)


def test_a_window_covers_all_its_pixels_in_the_heatmap() -> None:
    network: Any = heatmap.build(Spec("segmentation", 2, 1, 40), backbone="lenet5", window=32, paint="receptive_field")
    cells = torch.zeros(1, 2, 3, 3)
    cells[0, 1, 1, 1] = 9.0
    painted = network._spread(cells)[0, 1]
    assert painted.shape == (40, 40)  # three windows of 32, four pixels apart
    inside = painted > 0
    assert inside[4:36, 4:36].all()
    assert inside.sum() == 32 * 32
    assert painted[20, 20] == pytest.approx(1)  # all nine windows hold it
    assert painted[4, 4] == pytest.approx(9 / 4)


@pytest.mark.parametrize("paint", heatmap.PAINTS)
@torch.no_grad()
def test_a_heatmap_of_any_backbone_follows_from_its_cells(paint: str) -> None:
    """NiN, whose average has no fully connected layer: each mode is computed again from the cells."""
    spec = Spec("segmentation", 3, CHANNELS, 48)
    options: dict[str, Any] = {"backbone": "nin", "backbone_options": PADDED["nin"], "window": WINDOW}
    torch.manual_seed(0)
    network: Any = heatmap.build(spec, **options, paint=paint).eval()
    cells = network.body(network.body.pad_border(image(48)))
    step, window = network.body.stride, network.body.window
    first = step / 2 - window / 2  # the first window's edge; it is centred on the first `step` pixels
    logits = network(image(48))
    for row, column in ((0, 0), (5, 40), (23, 24), (47, 11)):
        if paint == "receptive_field":
            over = [
                [at for at in range(cells.shape[2]) if first + at * step <= pixel < first + at * step + window]
                for pixel in (row, column)
            ]
            value = cells[0][:, over[0]][:, :, over[1]].mean((1, 2))
        else:
            down, right = (min(max((pixel + 0.5) / step - 0.5, 0), cells.shape[2] - 1) for pixel in (row, column))
            (top, y), (left, x) = divmod(down, 1), divmod(right, 1)
            padded = F.pad(cells, (0, 1, 0, 1), mode="replicate")[
                0, :, int(top) : int(top) + 2, int(left) : int(left) + 2
            ]
            value = torch.einsum("kij,i,j->k", padded, torch.tensor([1.0 - y, y]), torch.tensor([1.0 - x, x]))
        torch.testing.assert_close(logits[0, :, row, column], value)


def test_dense_layers_keep_their_weights_and_averages_their_window() -> None:
    dense = nn.Linear(2 * 3 * 3, 4)
    features = torch.randn(1, 2, 5, 5)
    sliding = Window(dense, torch.Size((2, 3, 3)))(features)
    torch.testing.assert_close(sliding[0, :, 1, 2], dense(features[0, :, 1:4, 2:5].flatten()))
    torch.testing.assert_close(Mean(2, 3)(features)[0, :, 0, 1], features[0][:, [0, 0, 3, 3], [1, 4, 1, 4]].mean(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "lenet5", "window": 64}, "options.window: 64"),
        (
            {"backbone": "lenet5", "backbone_options": {"variant": "paper"}, "window": 32},
            "cannot be made fully convolutional",
        ),
        ({"backbone": "lenet5", "backbone_options": {"varian": "paper"}}, "variant"),
    ],
)
def test_what_cannot_be_made_convolutional_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_sliding(Spec("segmentation", 5, 1, 48), **{"backbone_options": None, "window": None} | options)
