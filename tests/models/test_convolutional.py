"""A classifier that slides says of every window what it says of that window alone; dilated, of every pixel's."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models import heatmap, shift_and_stitch
from pipeline.models._convolutional import Mean, Sliding, Window, dilate, sliding
from pipeline.models._spec import Spec, build

CHANNELS, WINDOW = 1, 32
#: classifiers with a fully connected head, a global average, branches, ceiled and overlapping poolings
PADDED: dict[str, dict[str, Any]] = {
    "resnet": {"depth": 20, "width": 4},
    "nin": {"width": 24},
    "googlenet": {"width": 8, "stem": "cifar"},
    "alexnet": {"width": 12, "head_width": 16, "stem": "cifar"},
    "vgg": {"config": "A", "width": 4, "head_width": 16},
    "densenet": {},
}
BACKBONES = {"lenet5": {}, **PADDED}


def classifier(name: str, window: int = WINDOW) -> nn.Module:
    torch.manual_seed(0)
    return build(name, Spec("classification", 5, CHANNELS, window), dict(BACKBONES[name])).eval()


def image(side: int) -> Tensor:
    return torch.randn(1, CHANNELS, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def one_by_one(network: nn.Module, images: Tensor, stride: int, cells: int) -> Tensor:
    """The classifier asked about every window in turn: 1×K×cells×cells."""
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
    slid = Sliding(deepcopy(network), CHANNELS, WINDOW).eval()
    kept = {key: value.shape for key, value in network.state_dict().items() if not key.startswith("aux")}
    assert {key: value.shape for key, value in slid.network.state_dict().items()} == kept
    torch.testing.assert_close(slid(image(WINDOW))[..., 0, 0], network(image(WINDOW)))


def test_sliding_is_exactly_window_after_window_where_nothing_is_padded() -> None:
    network = classifier("lenet5")
    slid = Sliding(deepcopy(network), CHANNELS, WINDOW).double()
    network.double()
    images = image(WINDOW + 4 * slid.stride).double()
    with torch.no_grad():
        torch.testing.assert_close(slid(images), one_by_one(network, images, slid.stride, 5), rtol=0, atol=1e-12)


def test_with_padding_a_window_within_an_image_sees_its_neighbours() -> None:
    """The control: a padded classifier sees zeros around a window, and pixels when it slides."""
    network = classifier("resnet")
    slid = Sliding(deepcopy(network), CHANNELS, WINDOW)
    images = image(WINDOW + 4 * slid.stride)
    with torch.no_grad():
        assert not torch.allclose(slid(images), one_by_one(network, images, slid.stride, 5), atol=1e-2)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_dilated_network_gives_the_strided_one_at_its_places(name: str) -> None:
    strided = Sliding(classifier(name), CHANNELS, WINDOW)
    dense = deepcopy(strided)
    dilate(dense)
    strided.double(), dense.double()
    images, stride = image(WINDOW + 2 * strided.stride).double(), strided.stride
    with torch.no_grad():
        found = dense(images)[..., ::stride, ::stride][..., :3, :3]
        torch.testing.assert_close(found, strided(images), rtol=0, atol=1e-10)


def ways(name: str, size: int) -> tuple[nn.Module, nn.Module]:
    spec = Spec("segmentation", 5, CHANNELS, size)
    options = {"backbone": name, "backbone_options": BACKBONES[name], "window": WINDOW}
    stitched, dilated = (shift_and_stitch.build(spec, **options, way=way) for way in ("stitch", "dilate"))  # type: ignore[arg-type]
    dilated.load_state_dict(stitched.state_dict())
    return stitched.double().eval(), dilated.double().eval()


def test_stitched_and_dilated_maps_are_equal_where_nothing_is_padded() -> None:
    stitched, dilated = ways("lenet5", 44)
    with torch.no_grad():
        one, other = stitched(image(44).double()), dilated(image(44).double())
    assert one.shape == (1, 5, 44, 44)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_stitched_and_dilated_maps_are_equal_inside_the_border() -> None:
    """What padding reaches differs, for shifted images end elsewhere; a single layer's padding reaches few pixels."""
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
        cells = coarse.body(coarse.body.bordered(images))  # type: ignore[operator, union-attr]
        pixels = dense(images)
    stride = 4
    # the middle of a cell lies between its second and third pixel, a window's too: the one before is meant
    torch.testing.assert_close(pixels[..., 1::stride, 1::stride], cells)


def test_a_window_is_painted_over_all_its_pixels() -> None:
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


def test_dense_layers_keep_their_weights_and_averages_their_window() -> None:
    dense = nn.Linear(2 * 3 * 3, 4)
    maps = torch.randn(1, 2, 5, 5)
    slid = Window(dense, torch.Size((2, 3, 3)))(maps)
    torch.testing.assert_close(slid[0, :, 1, 2], dense(maps[0, :, 1:4, 2:5].flatten()))
    torch.testing.assert_close(Mean(2, 3)(maps)[0, :, 0, 1], maps[0][:, [0, 0, 3, 3], [1, 4, 1, 4]].mean(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "lenet5", "window": 64}, "options.window: 64"),
        ({"backbone": "lenet5", "backbone_options": {"variant": "paper"}, "window": 32}, "does not slide"),
        ({"backbone": "lenet5", "backbone_options": {"varian": "paper"}}, "variant"),
    ],
)
def test_what_does_not_slide_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sliding(Spec("segmentation", 5, 1, 48), **{"backbone_options": None, "window": None} | options)
