"""R-CNN: windows with context, training targets of boxes, and fitted SVMs and regressions."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.models import rcnn
from pipeline.models.parts.box_coding import encode_deltas
from pipeline.models.parts.spec import Spec
from pipeline.models.rcnn import _training_targets

SIDE = 64
SPEC = Spec("detection", 3, 3, SIDE)
COLORS = torch.eye(3)


def made(**options: Any) -> Any:
    torch.manual_seed(0)
    return rcnn.build(SPEC, **{"backbone": "lenet5", "window": 32, **options})


def test_a_window_is_its_box_with_16_of_227_pixels_around() -> None:
    """195 pixels with 16 on each side are the whole image; 16 further up and left, 16 pixels lie beyond it."""
    across = 100 + torch.arange(227.0).expand(1, 227, 227)
    image = torch.stack([across, across.mT], 1)
    network: Any = rcnn.build(Spec("detection", 3, 2, 227), backbone="lenet5", window=227)
    boxes = torch.tensor([[16.0, 16, 211, 211], [0, 0, 195, 195]])
    whole, shifted = network.windows(image, [boxes])
    inside = slice(2, -2)
    torch.testing.assert_close(whole[:, inside, inside], image[0, :, inside, inside], atol=0.02, rtol=0)
    assert not shifted[:, :15].any()
    assert not shifted[:, :, :15].any()
    torch.testing.assert_close(shifted[:, 18:-2, 18:-2], image[0, :, 2:209, 2:209], atol=0.02, rtol=0)


def test_a_window_is_warped_whatever_its_box() -> None:
    """A box twice as wide as high: the left half stays the left half of the window."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    image[..., 16:32] = 1
    (window,) = made().windows(image, [torch.tensor([[16.0, 24, 48, 40]])])
    context = 32 * 16 / 227
    bright = window[0].mean(0) > 0.5
    assert bright.sum() == pytest.approx(16 - context, abs=1)
    assert bool(bright[int(context) + 2 : 15].all())
    assert not bright[17:].any()


def test_training_targets_of_boxes() -> None:
    """Overlaps with the object of class 1: itself, 80 %, 50 %, 20 %, and nothing."""
    target: Any = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([1])}
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [0, 0, 10, 2], [20, 20, 30, 30]])
    positive, negative, labels, deltas = _training_targets(boxes, target, classes=3)
    assert positive.tolist() == [[False, True, False]] + [[False] * 3] * 4
    assert negative[:, 1].tolist() == [False, False, False, True, True]
    assert negative[:, 0].all()  # an object of another class is a negative
    assert labels.tolist() == [-1, 1, -1, -1, -1]
    torch.testing.assert_close(deltas[1:2], encode_deltas(target["boxes"], boxes[1:2]))
    none: Any = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    positive, negative, labels, _ = _training_targets(boxes, none, classes=3)
    assert not positive.any()
    assert negative.all()
    assert labels.tolist() == [-1] * 5


def scene(seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Three squares, red, green and blue, on noise; proposals are their boxes moved by up to three pixels, others."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.2 * torch.rand(3, SIDE, SIDE, generator=generator)
    corners = torch.tensor([[2.0, 2], [34, 4], [12, 36]]) + torch.randint(0, 6, (3, 2), generator=generator)
    boxes = torch.cat([corners, corners + 20], 1)
    labels = torch.randperm(3, generator=generator)
    for (left, top, right, bottom), label in zip(boxes.int().tolist(), labels, strict=True):
        image[:, top:bottom, left:right] += COLORS[label][:, None, None]
    moved = (boxes.repeat(8, 1) + torch.randint(-3, 4, (24, 4), generator=generator)).clamp(0, SIDE)
    start = torch.rand(30, 2, generator=generator) * 40
    others = torch.cat([start, start + 8 + 14 * torch.rand(30, 2, generator=generator)], 1)
    return image, {"boxes": boxes, "labels": labels, "proposals": torch.cat([moved, others])}


def batches(seeds: range) -> list[tuple[Tensor, list[dict[str, Tensor]]]]:
    scenes = [scene(seed) for seed in seeds]
    return [(torch.stack([image for image, _ in scenes]), [target for _, target in scenes])]


def best_ious(network: Any, seeds: range) -> list[float]:
    """IoU of each object with the best detection of its class."""
    from torchvision.ops import box_iou

    ((images, targets),) = batches(seeds)
    with torch.no_grad():
        detections = network.eval()(images, proposals=[target["proposals"] for target in targets])
    ious = []
    for item, target in zip(detections, targets, strict=True):
        for box, label in zip(target["boxes"], target["labels"], strict=True):
            own = item["boxes"][item["labels"] == label][:1]
            ious.append(float(box_iou(own, box[None]).max()) if len(own) else 0.0)
    return ious


@pytest.fixture(scope="module")
def fitted() -> Any:
    network = made().eval()
    with torch.no_grad():
        network.fit(batches(range(12)))
    return network


def test_a_fitted_network_detects_objects_of_new_images(fitted: Any) -> None:
    """On a network with random weights."""
    ious, before = best_ious(fitted, range(20, 30)), best_ious(made(), range(20, 30))
    assert sum(value > 0.5 for value in ious) >= 27
    assert sum(value > 0.5 for value in before) < 20


def test_boxes_are_corrected(fitted: Any) -> None:
    """By regressions of the last feature map, whose penalty is small compared with these features."""
    plain = made(box_regression=False)
    plain.load_state_dict(fitted.state_dict())
    corrected, as_proposed = (sum(best_ious(network, range(20, 30))) for network in (fitted, plain))
    assert corrected > as_proposed


def test_fitted_weights_are_stored_and_need_no_scikit_learn(fitted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = made()
    other.load_state_dict(fitted.state_dict())
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    assert best_ious(other, range(3)) == best_ious(fitted, range(3))
    with pytest.raises(ImportError):
        other.fit(batches(range(1)))


def test_scores_are_of_the_svms_once_they_are_fitted(fitted: Any) -> None:
    ((images, targets),) = batches(range(1))
    boxes = [targets[0]["proposals"]]
    soft = made(svm=False)
    soft.load_state_dict(fitted.state_dict())
    with torch.no_grad():
        extract = fitted.extract(images, boxes)
        margins, own = fitted.margins(extract.features), extract.logits.softmax(1)[:, :-1]
        torch.testing.assert_close(fitted.predict(extract, boxes[0])[0], margins.sigmoid())
        torch.testing.assert_close(soft.predict(extract, boxes[0])[0], own)
        torch.testing.assert_close(made().predict(extract, boxes[0])[0], own)


def test_few_windows_at_once_are_the_same(fitted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = best_ious(fitted, range(2))
    monkeypatch.setattr(rcnn, "WINDOWS_PER_PASS", 7)
    assert best_ious(fitted, range(2)) == pytest.approx(expected, abs=1e-5)


def test_background_is_a_class_more() -> None:
    network = made()
    ((images, targets),) = batches(range(2))
    losses = network.train()(images, targets)
    assert set(losses) == {"class"}
    losses["class"].backward()
    assert network.body.output.weight.grad.shape[0] == 4


def test_a_backbone_without_maps_is_refused() -> None:
    with pytest.raises(UserError, match="linear has no LEVELS"):
        made(backbone="linear")
