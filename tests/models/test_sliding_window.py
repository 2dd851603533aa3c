"""The dense mode equals cropping every window; windows are matched to objects; boxes come from windows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.ops import box_iou

from pipeline import checkpoint
from pipeline.errors import UserError
from pipeline.models import lenet5, sliding_window
from pipeline.models.parts.spec import Spec

SIDE, CLASSES = 64, 3
SPEC = Spec("detection", CLASSES, 3, SIDE)
PADDED: dict[str, Any] = {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}}


def network(seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return sliding_window.build(SPEC, **{"sides": [24, 33]} | options)


def images(number: int = 1) -> Tensor:
    return torch.rand(number, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def both_modes(**options: Any) -> tuple[Any, Any]:
    """The dense and the naive detector, of the same weights."""
    dense, crops = (network(mode=mode, **options).double().eval() for mode in ("dense", "crops"))
    return dense, crops


@torch.no_grad()
def test_dense_is_crop_by_crop_where_nothing_is_padded() -> None:
    one, other = (net.maps(images(2).double()) for net in both_modes())
    assert [cells.shape for cells in one] == [(2, CLASSES + 1, 22, 22), (2, CLASSES + 1, 16, 16)]
    for cells, expected in zip(one, other, strict=True):
        torch.testing.assert_close(cells, expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_with_padding_a_crop_has_another_border() -> None:
    """The control."""
    one, other = (net.maps(images().double()) for net in both_modes(**PADDED))
    assert [cells.shape for cells in one] == [cells.shape for cells in other]
    assert not torch.allclose(one[0], other[0], atol=1e-2)


def test_windows_are_in_pixels_of_the_image() -> None:
    """LeNet-5 strides 4 pixels: cell 0 is the window from −14 to 18 of a copy, which here has half the pixels."""
    net = network(sides=[64])
    (cells,) = net.maps(images())
    windows = net._window_boxes(cells, 64, SIDE)
    assert cells.shape[2:] == (8, 8)
    assert windows[0].tolist() == [-28, -28, 36, 36]
    assert windows[1].tolist() == [-20, -28, 44, 36]
    assert windows[8].tolist() == [-28, -20, 36, 44]


def test_the_class_of_a_window() -> None:
    """An object of 20×10 lies in a square of 20×20; the best window of the other object has its class, too."""
    net = network()
    target = {"boxes": torch.tensor([[10.0, 15, 30, 25], [50, 50, 55, 60]]), "labels": torch.tensor([2, 0])}
    windows = torch.tensor([[10.0, 10, 30, 30], [14, 10, 34, 30], [20, 10, 40, 30], [40, 40, 64, 64], [0, 40, 20, 60]])
    # overlaps with the first square: 1, ⅔, ⅓; the fourth with the second: 100 of 576
    assert net._match(windows, target).tolist() == [2, 2, -1, 0, CLASSES]
    torch.testing.assert_close(net.shares, torch.tensor([[0.5, 1], [1, 1], [1, 0.5]]))
    net._match(windows, {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([2])})
    torch.testing.assert_close(net.shares[2], torch.tensor([1, 0.75]))
    assert net.seen.flatten().tolist() == [1, 0, 2]
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert net._match(windows, nothing).tolist() == [CLASSES] * 5


def test_losses_by_hand() -> None:
    """One object, five background windows of which the three with the largest loss count, and one that is ignored."""
    net = network()
    probabilities = torch.tensor([0.7, 0.5, 0.1, 0.6, 0.9, 0.2, 0.3])
    right = torch.tensor([0, 3, 3, 3, 3, 3, 1])
    logits = torch.log((1 - probabilities)[:, None].expand(7, 4) / 3)
    logits = logits.scatter(1, right[:, None], probabilities.log()[:, None])
    windows = torch.tensor([[0.0, 0, 20, 20], *[[40 + x, 40, 60 + x, 60] for x in range(5)], [10, 0, 30, 20]])
    target = {"boxes": torch.tensor([[0.0, 0, 20, 20]]), "labels": torch.tensor([0])}
    losses = net.losses(logits[None], windows, [target])
    assert float(losses["thing"]) == pytest.approx(-torch.tensor(0.7).log().item())
    assert float(losses["background"]) == pytest.approx(-torch.tensor(0.1 * 0.2 * 0.5).log().item())


def test_detections_are_the_windows_with_high_scores() -> None:
    net = network(sides=[32]).eval()
    net.shares[1] = torch.tensor([0.5, 1.0])
    logits = torch.zeros(1, CLASSES + 1, 16, 16)
    logits[:, CLASSES] = 10
    logits[0, 1, 4, 8] = 14  # centred on (34, 18): the window is 18, 2, 50, 34
    logits[0, 2, 4, 9] = 12  # overlaps the first
    logits[0, 0, 12, 0] = 13  # reaches past the image: −14, 34, 18, 66
    net.maps = lambda _: [logits]
    (detections,) = net(images())
    assert detections["labels"].tolist() == [1, 0]
    torch.testing.assert_close(detections["boxes"], torch.tensor([[26.0, 2, 42, 34], [0, 34, 18, 64]]))
    odds = torch.tensor([4.0, 3.0]).exp()
    torch.testing.assert_close(detections["scores"], odds / (odds + 1), atol=1e-3, rtol=0)


def test_learns_two_objects() -> None:
    net = network().train()
    target = {"boxes": torch.tensor([[4.0, 6, 28, 28], [34, 30, 58, 62]]), "labels": torch.tensor([0, 2])}
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
    for _ in range(60):
        loss = sum(net(images(), [target]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    (detections,) = net.eval()(images())
    assert sorted(detections["labels"][:2].tolist()) == [0, 2]
    assert bool((box_iou(detections["boxes"][:2], target["boxes"]).amax(0) > 0.5).all())
    assert bool((detections["scores"][:2] > 0.5).all())
    others = detections["boxes"][detections["scores"] > 0.5]
    assert bool((box_iou(others, target["boxes"]).amax(1) > 0.1).all())  # parts of objects at most


def test_a_classifiers_weights_fit(tmp_path: Path) -> None:
    classifier = lenet5.build(Spec("classification", 10, 3, 32))
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    net = network()
    assert sorted(checkpoint.start(net, tmp_path)) == ["output.bias", "output.weight"]
    assert torch.equal(net.body.network.get_parameter("c3.0.weight"), classifier.get_parameter("c3.0.weight"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "crop"}, "no mode is named 'crop'; did you mean 'crops'"),
        ({"window": 80}, "options.window: 80"),
        ({"sides": [8, 90]}, r"options\.sides: \[8, 90\] must lie between 1 and 64"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        network(**options)
