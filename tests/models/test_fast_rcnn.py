"""Fast R-CNN: where it looks, what it learns from, whose layers it takes, and how its two losses are weighed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.detection.roi_heads import fastrcnn_loss

from pipeline import checkpoint
from pipeline.errors import UserError
from pipeline.learners.base import Settings
from pipeline.models import fast_rcnn, vgg
from pipeline.models.parts.box_coding import SPREAD, Drawn, told
from pipeline.models.parts.spec import Spec

SIDE = 64
SPEC = Spec("detection", 3, 3, SIDE)
SMALL: dict[str, Any] = {"backbone": "lenet5", "head_width": 32}
OWN: dict[str, Any] = {
    "backbone": "vgg",
    "backbone_options": {"config": "A", "width": 4, "head_width": 24},
    "stage": "features.conv5",
    "head": "backbone",
}
BOXES = torch.tensor([[8.0, 8, 40, 40], [30, 20, 60, 60]])


def targets() -> list[dict[str, Tensor]]:
    near = torch.cat([BOXES + shift for shift in (-6.0, -3, 0, 3, 6)]).clamp(0, SIDE)
    first = {"boxes": BOXES, "labels": torch.tensor([0, 2]), "proposals": near}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "proposals": near[:3]}
    return [first, none]


def images() -> Tensor:
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def made(**options: Any) -> Any:
    torch.manual_seed(0)
    return fast_rcnn.build(SPEC, **SMALL | options)


def test_both_losses_are_of_the_regions_that_are_drawn() -> None:
    """The class's is torchvision's, where background is first; the box's turns from square to line at 1, not 1/9."""
    network = made()
    known = targets()[0]
    drawn = Drawn(known["proposals"], torch.tensor([0, 2, 3, 3, 0, 2, 3, 3, 3, 3]), BOXES.repeat(5, 1))
    network.draw = type("Fixed", (), {"of": lambda *_: drawn})()
    with torch.no_grad():
        found = network(images()[:1], [known])
        (maps,) = network.backbone(images()[:1]).values()
        logits, numbers = network.judged(maps, [drawn.boxes])
        rolled = [part.roll(1, dims=1) for part in (logits, numbers)]
        wanted = told(drawn.truth, drawn.boxes) / torch.tensor(SPREAD)
        expected, _ = fastrcnn_loss(rolled[0], rolled[1].flatten(1), [(drawn.labels + 1) % 4], [wanted])
        errors = [
            (numbers[place, label] - wanted[place]).abs() for place, label in enumerate(drawn.labels) if label < 3
        ]
    torch.testing.assert_close(found["class"], expected)
    by_hand = sum(float(torch.where(error < 1, error**2 / 2, error - 0.5).sum()) for error in errors) / 10
    assert float(found["box"]) == pytest.approx(by_hand, rel=1e-5)


def test_a_region_is_seen_where_it_lies() -> None:
    """A bright square changes what is said of the proposals on it, and of no other."""
    network = made(backbone="resnet", backbone_options={"width": 8}, stage="layer1").eval()
    assert network.stride == 4
    dark, bright = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)
    bright[..., :12, :12] = 1
    places = torch.tensor([[0.0, 0, 16, 16], [48, 48, 64, 64]])
    with torch.no_grad():
        one, two = (network.judged(network.backbone(image)["0"], [places])[0] for image in (dark, bright))
    assert not torch.allclose(one[0], two[0])
    torch.testing.assert_close(one[1], two[1])


def test_weights_are_drawn_as_the_paper_has_them() -> None:
    network = made(head_width=512)
    assert float(network.cls_score.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert float(network.bbox_pred.weight.detach().std()) == pytest.approx(0.001, rel=0.1)
    assert not network.cls_score.bias.any()


def test_a_classifiers_own_layers_are_the_head_and_are_filled(tmp_path: Path) -> None:
    classifier = vgg.build(Spec("classification", 7, 3, SIDE), **OWN["backbone_options"])
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    network = made(**OWN)
    assert network.cells == SIDE // 32
    left = checkpoint.start(network, tmp_path)
    assert sorted(left) == ["classifier.6.bias", "classifier.6.weight"]
    own = network.backbone.body.state_dict()
    assert torch.equal(own["classifier.0.weight"], classifier.state_dict()["classifier.0.weight"])
    assert len([name for name in network.state_dict() if "classifier.0.weight" in name]) == 1
    loss = torch.stack(list(network.train()(images(), targets()).values())).sum()
    loss.backward()
    assert network.get_parameter("backbone.body.classifier.0.weight").grad.abs().sum() > 0


def test_learns_two_things() -> None:
    network = made().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    losses = []
    for _ in range(40):
        loss = torch.stack(list(network(images(), targets()).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    with torch.no_grad():
        found, _ = network.eval()(images(), proposals=[item["proposals"] for item in targets()])
    best = {int(label): box for label, box in zip(found["labels"].flip(0), found["boxes"].flip(0), strict=True)}
    assert set(best) >= {0, 2}
    for label, box in ((0, BOXES[0]), (2, BOXES[1])):
        assert (best[label] - box).abs().max() < 6


def test_an_image_without_proposals_has_no_answers() -> None:
    with torch.no_grad():
        found = made().eval()(images(), proposals=[torch.zeros(0, 4), targets()[0]["proposals"]])
    assert found[0]["boxes"].shape == (0, 4)
    assert len(found[1]["boxes"])


@pytest.mark.parametrize(
    ("loss", "shares"), [({}, (1, 1)), ({"box_weight": 2.5}, (1, 2.5)), ({"convex": 0.25}, (0.75, 0.25))]
)
def test_losses_are_weighed(loss: dict[str, float], shares: tuple[float, float]) -> None:
    settings = Settings(tuple("abc"), (), (1,) * 3, 3, SIDE, (0.5,) * 3, (0.25,) * 3)
    given = (images() * 255).to(torch.uint8), targets()
    found = []
    for options in ({}, loss):
        learner = fast_rcnn.learner(made(), settings, **options)
        torch.manual_seed(1)
        found.append(learner(*given))
    plain, weighed = found
    for name, share in zip(("class", "box"), shares, strict=True):
        torch.testing.assert_close(weighed[name], share * plain[name])


def test_wrong_options_are_named() -> None:
    settings = Settings(tuple("abc"), (), (1,) * 3, 3, SIDE, (0.5,) * 3, (0.25,) * 3)
    with pytest.raises(UserError, match=r"options\.head: no head is named 'backbon'; did you mean 'backbone'"):
        made(head="backbon")
    with pytest.raises(UserError, match=r"options\.head: resnet has no fully connected layers before its output"):
        made(backbone="resnet", head="backbone")
    with pytest.raises(UserError, match=r"loss\.convex: 1\.5"):
        fast_rcnn.learner(made(), settings, convex=1.5)
    with pytest.raises(UserError, match=r"loss\.convex: 0\.5, beside box_weight 2"):
        fast_rcnn.learner(made(), settings, convex=0.5, box_weight=2)
