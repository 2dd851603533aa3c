"""YOLO predicts S×S×(B·5+C) values, is trained by the paper's five sums, and decodes detections from them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.ops import box_iou

from pipeline import checkpoint
from pipeline.count.layers import count
from pipeline.errors import UserError
from pipeline.models import resnet, yolo
from pipeline.models.parts.spec import Spec
from pipeline.models.parts.yolo_grid import CellPredictions, Grid, find_responsible

SIDE = 64
SPEC = Spec("detection", 3, 3, SIDE)
SMALL: dict[str, Any] = dict(yolo.SMALL)["options"]  # type: ignore[assignment]
TARGETS = [
    {"boxes": torch.tensor([[4.0, 8, 30, 40], [36, 30, 60, 62]]), "labels": torch.tensor([0, 2])},
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
]
FORMS = pytest.mark.parametrize("own", [False, True], ids=["classes of a cell", "classes of a box"])


def images(number: int = 2) -> Tensor:
    return torch.rand(number, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def network(grid: Grid) -> yolo.YOLO:
    """A network without layers, for its losses and detections."""
    return yolo.YOLO(nn.Identity(), "", nn.Identity(), grid, (5.0, 0.5), (0.5, 100))


def boxes(number: int) -> Tensor:
    """N×4 corners as fractions of the image."""
    random = torch.Generator().manual_seed(number)
    centre, half = torch.rand(number, 2, generator=random), torch.rand(number, 2, generator=random) / 2 + 0.01
    return torch.cat([centre - half, centre + half], 1)


@FORMS
def test_the_papers_layers_and_outputs(own: bool) -> None:
    with torch.device("meta"):
        net = yolo.build(Spec("detection", 20, 3, 448), boxes_have_classes=own)
        outputs = yolo.trace(net, torch.empty(1, 3, 448, 448))
    kinds = [type(layer) for layer in net.modules()]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear)) == (24, 2)
    assert outputs.numel() == 7 * 7 * (2 * (5 + 20) if own else 2 * 5 + 20)


def test_parameters_with_batch_normalisation() -> None:
    with torch.device("meta"):
        net = yolo.build(Spec("detection", 20, 3, 448), norm=True)
    assert count(net, 3, 448, yolo.trace).parameters == 271_716_734


def test_encoding_and_decoding_invert_each_other() -> None:
    grid, corners = Grid(5, 2, 3), boxes(50)
    cell, preds = grid.encode(corners)
    assert bool(((preds[:, :2] >= 0) & (preds[:, :2] <= 1)).all())
    everywhere = torch.zeros(50, 25, 2, 4)
    everywhere[torch.arange(50), cell, 1] = preds
    torch.testing.assert_close(grid.decode(everywhere)[torch.arange(50), cell, 1], corners)
    cell, preds = grid.encode(torch.tensor([[0.5, 0.2, 0.7, 0.6], [0.9, 0.9, 1.1, 1.1]]))  # row 2, column 3; the corner
    assert cell.tolist() == [13, 24]
    torch.testing.assert_close(preds[0], torch.tensor([0.0, 0.0, 0.2**0.5, 0.4**0.5]))
    torch.testing.assert_close(preds[1, :2], torch.ones(2))


@FORMS
def test_values_are_laid_out_as_boxes_then_classes(own: bool) -> None:
    values = torch.arange(2 * 4 * (16 if own else 13)).view(2, 4, -1)
    preds = Grid(2, 2, 3, own).split(values)
    start = 16 if own else 13  # of cell 1
    assert preds.boxes[0, 1, 0].tolist() == [start, start + 1, start + 2, start + 3]
    assert preds.confidence[0, 1].tolist() == [start + 4, start + (12 if own else 9)]
    assert preds.classes[0, 1, 0].tolist() == [start + (5 if own else 10) + index for index in range(3)]
    assert preds.classes[0, 1, 1].tolist() == [start + (13 if own else 10) + index for index in range(3)]


@FORMS
def test_losses_by_hand(own: bool) -> None:
    """2×2 cells, two boxes, two classes; the image of 8×8 pixels has an object in its upper right cell."""
    preds = CellPredictions(torch.zeros(1, 4, 2, 4), torch.zeros(1, 4, 2), torch.zeros(1, 4, 2, 2))
    # from 4,0 to 8,4: the centre is in the middle of cell 1, the sides are half the image's
    target = [{"boxes": torch.tensor([[4.0, 0, 8, 4]]), "labels": torch.tensor([1])}]
    preds.boxes[0, 1, 0] = torch.tensor([0.5, 0.5, 1.0, 0.5**0.5])  # twice as wide: IoU one half
    preds.boxes[0, 1, 1] = torch.tensor([0.0, 0.5, 0.1, 0.1])
    preds.confidence[0, 1] = torch.tensor([0.9, 0.4])
    preds.confidence[0, 3] = torch.tensor([0.0, 0.2])
    preds.classes[0, 1] = torch.tensor([[0.3, 0.6], [0.7, 0.7]] if own else [[0.3, 0.6]] * 2)
    losses = network(Grid(2, 2, 2, own)).losses(preds, target, 8)
    by_hand = {
        "centre": 0.0,
        "sides": 5 * (1 - 0.5**0.5) ** 2,
        "thing": (0.9 - 0.5) ** 2,
        "nothing": 0.5 * (0.4**2 + 0.2**2),
        "class": 0.3**2 + 0.4**2,
    }
    assert {name: pytest.approx(float(value)) for name, value in losses.items()} == by_hand


def one_by_one(preds: CellPredictions, targets: list[dict[str, Tensor]], size: int, cells: int) -> float:
    """Equation 3 as it is printed, index by index; of several objects in a cell the first."""
    total = 0.0
    for image, target in enumerate(targets):
        first_objects: dict[int, tuple[Tensor, int]] = {}
        for box, label in zip(target["boxes"] / size, target["labels"].tolist(), strict=True):
            column, row = ((box[:2] + box[2:]) / 2 * cells).long().tolist()
            first_objects.setdefault(row * cells + column, (box, label))
        for cell in range(cells**2):
            corner = torch.tensor([cell % cells, cell // cells])
            own = None
            if cell in first_objects:
                truth, label = first_objects[cell]
                decoded = []
                for x, y, w, h in preds.boxes[image, cell].tolist():
                    cx, cy = (x + corner[0]) / cells, (y + corner[1]) / cells
                    decoded.append([cx - w * w / 2, cy - h * h / 2, cx + w * w / 2, cy + h * h / 2])
                overlaps = box_iou(torch.tensor(decoded), truth[None])[:, 0]
                own = int(overlaps.argmax())
                x, y, w, h = preds.boxes[image, cell, own]
                centre, sides = (truth[:2] + truth[2:]) / 2 * cells - corner, truth[2:] - truth[:2]
                total += float(5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2))
                total += float(5 * ((w - sides[0].sqrt()) ** 2 + (h - sides[1].sqrt()) ** 2))
                total += float((preds.confidence[image, cell, own] - overlaps[own]) ** 2)
                one_hot = torch.eye(preds.classes.shape[-1])[label]
                total += float((preds.classes[image, cell, own] - one_hot).square().sum())
            for index, confidence in enumerate(preds.confidence[image, cell].tolist()):
                total += 0.0 if index == own else 0.5 * confidence**2
    return total / len(targets)


def test_losses_index_by_index() -> None:
    grid, random = Grid(3, 2, 4), torch.Generator().manual_seed(2)
    preds = grid.split(torch.rand(4, 9, 14, generator=random))
    truth = [boxes(number).clamp(0, 1) * 90 for number in (9, 5, 1)]
    labels = [torch.randint(0, 4, (len(item),), generator=random) for item in truth]
    targets = [{"boxes": one, "labels": two} for one, two in zip(truth, labels, strict=True)] + [TARGETS[1]]
    losses = network(grid).losses(preds, targets, 90)
    assert float(sum(losses.values())) == pytest.approx(one_by_one(preds, targets, 90, 3), rel=1e-5)


def test_where_no_box_overlaps_the_nearest_is_responsible() -> None:
    far, near = [0.0, 0, 0.1, 0.1], [0.0, 0, 0.5, 0.5]
    truth = torch.tensor([[0.6, 0.6, 1.0, 1.0], [0.05, 0.05, 0.1, 0.1]])
    box, iou = find_responsible(torch.tensor([[far, near]] * 2), truth)
    assert box.tolist() == [1, 0]
    torch.testing.assert_close(iou, torch.tensor([0.0, 0.25]))


@FORMS
def test_detections_are_the_predicted_boxes(own: bool) -> None:
    """A perfect output gives the truth; a copy that overlaps it goes, one of another class stays."""
    grid = Grid(4, 2, 3, own)
    preds = CellPredictions(torch.zeros(1, 16, 2, 4), torch.zeros(1, 16, 2), torch.zeros(1, 16, 2, 3))
    truth = TARGETS[0]
    cell, values = grid.encode(truth["boxes"] / SIDE)
    for index, label in enumerate(truth["labels"].tolist()):
        preds.boxes[0, cell[index]] = values[index]
        preds.confidence[0, cell[index]] = torch.tensor([1.0, 0.5])  # the second box is the same
        preds.classes[0, cell[index], :, label] = 1.0
    net = network(grid)
    detections = net._detections(CellPredictions(*(item[0] for item in preds)), SIDE)
    torch.testing.assert_close(detections["boxes"], truth["boxes"])
    assert (detections["labels"].tolist(), detections["scores"].tolist()) == ([0, 2], [1.0, 1.0])
    preds.classes[0, cell[0], :, 1] = 0.6
    again = net._detections(CellPredictions(*(item[0] for item in preds)), SIDE)
    assert again["labels"].tolist() == [0, 2, 1]
    assert again["scores"].tolist() == pytest.approx([1.0, 1.0, 0.6])
    net.limits = (0.5, 1)
    assert len(net._detections(CellPredictions(*(item[0] for item in preds)), SIDE)["scores"]) == 1


@pytest.mark.parametrize(("head", "cells"), [("connected", 4), ("convolutional", 5)])
def test_learns_two_objects(head: str, cells: int) -> None:
    torch.manual_seed(0)
    small = {"backbone": "lenet5", "backbone_options": {}, "head": head, "cells": cells, "head_width": 64, "width": 32}
    options = SMALL | small
    net = yolo.build(SPEC, **options)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
    for _ in range(60):
        loss = sum(net(images(), TARGETS).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    detections, nothing = net.eval()(images())
    best = detections["scores"] > 0.5
    assert sorted(detections["labels"][best].tolist()) == [0, 2]
    overlaps = box_iou(detections["boxes"][best], TARGETS[0]["boxes"])
    assert bool((overlaps.amax(0) > 0.7).all())
    assert not bool((nothing["scores"] > 0.5).any())


def test_a_convolutional_head_judges_every_cell_alike() -> None:
    """An image shifted by a cell gives outputs shifted by a cell, away from the border."""
    torch.manual_seed(0)
    options = {"backbone": "lenet5", "backbone_options": {}, "level": "c1", "head": "convolutional", "cells": 30}
    net: Any = yolo.build(SPEC, **SMALL | options).eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        here, there = (net.values(item).view(30, 30, -1) for item in (image, image.roll(2, 3)))
    torch.testing.assert_close(there[8:22, 9:23], here[8:22, 8:22])
    assert not torch.allclose(there[8:22, 8:22], here[8:22, 8:22], atol=1e-3)


def test_a_trained_classifier_fills_the_backbone(tmp_path: Path) -> None:
    classifier = resnet.build(Spec("classification", 10, 3, 32), width=8)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    net: Any = yolo.build(SPEC, **SMALL | {"backbone_options": {"width": 8}, "level": "layer3"})
    left = checkpoint.start(net, tmp_path)
    assert not [name for name in net.body.state_dict() if "layer4" in name or "fc" in name]
    assert {name.split(".")[0] for name in left} == {"layer4", "fc"}
    assert torch.equal(net.body.layer3[0].conv1.weight, classifier.get_parameter("layer3.0.conv1.weight"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "layer9"}, r"options\.level: no level is named 'layer9'"),
        ({"backbone": "resnett"}, "no architecture is named 'resnett'; did you mean 'resnet'"),
        ({"backbone": None}, r"options\.backbone_options, options\.level: need options\.backbone"),
        ({"head": "convolution"}, "no head is named 'convolution'; did you mean 'convolutional'"),
        ({"head": "convolutional"}, r"options\.cells: 7, but the feature map after layer4 has 8 cells per side"),
        ({"cells": 0}, "cells 0 and boxes 2 must be at least 1"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        yolo.build(SPEC, **SMALL | options)


def test_an_image_too_small_for_the_papers_layers_is_refused() -> None:
    with pytest.raises(UserError, match="size: 24 is too small for yolo"):
        yolo.build(Spec("detection", 3, 3, 24))
