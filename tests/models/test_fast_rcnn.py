"""Fast R-CNN: RoI pooling, sampling of regions, the backbone's own layers as head, and weights of the losses."""

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
from pipeline.models.parts.box_coding import DELTA_STD, SampledRois, encode_deltas
from pipeline.models.parts.spec import Spec

SIDE = 64
SPEC = Spec("detection", 3, 3, SIDE)
SMALL: dict[str, Any] = {"backbone": "lenet5", "head_width": 32}
OWN: dict[str, Any] = {
    "backbone": "vgg",
    "backbone_options": {"config": "A", "width": 4, "head_width": 24},
    "level": "features.conv5",
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


def test_both_losses_are_of_the_sampled_regions() -> None:
    """The class's is torchvision's, where background is first; the box's turns from square to line at 1, not 1/9."""
    network = made()
    target = targets()[0]
    rois = SampledRois(target["proposals"], torch.tensor([0, 2, 3, 3, 0, 2, 3, 3, 3, 3]), BOXES.repeat(5, 1))
    network.sampler = type("Fixed", (), {"sample": lambda *_: rois})()
    with torch.no_grad():
        losses = network(images()[:1], [target])
        (feature_map,) = network.backbone(images()[:1]).values()
        logits, deltas = network.predict(feature_map, [rois.boxes])
        rolled = [part.roll(1, dims=1) for part in (logits, deltas)]
        target_deltas = encode_deltas(rois.truth, rois.boxes) / torch.tensor(DELTA_STD)
        expected, _ = fastrcnn_loss(rolled[0], rolled[1].flatten(1), [(rois.labels + 1) % 4], [target_deltas])
        errors = [
            (deltas[index, label] - target_deltas[index]).abs() for index, label in enumerate(rois.labels) if label < 3
        ]
    torch.testing.assert_close(losses["class"], expected)
    by_hand = sum(float(torch.where(error < 1, error**2 / 2, error - 0.5).sum()) for error in errors) / 10
    assert float(losses["box"]) == pytest.approx(by_hand, rel=1e-5)


def test_a_regions_features_are_pooled_where_it_lies() -> None:
    """A bright square changes the logits of the proposals on it, and of no other."""
    network = made(backbone="resnet", backbone_options={"width": 8}, level="layer1").eval()
    assert network.stride == 4
    dark, bright = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)
    bright[..., :12, :12] = 1
    boxes = torch.tensor([[0.0, 0, 16, 16], [48, 48, 64, 64]])
    with torch.no_grad():
        one, two = (network.predict(network.backbone(image)["0"], [boxes])[0] for image in (dark, bright))
    assert not torch.allclose(one[0], two[0])
    torch.testing.assert_close(one[1], two[1])


def test_initial_weights_are_the_papers() -> None:
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


def test_learns_two_objects() -> None:
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
        detections, _ = network.eval()(images(), proposals=[item["proposals"] for item in targets()])
    labels, boxes = detections["labels"].flip(0), detections["boxes"].flip(0)
    best = {int(label): box for label, box in zip(labels, boxes, strict=True)}
    assert set(best) >= {0, 2}
    for label, box in ((0, BOXES[0]), (2, BOXES[1])):
        assert (best[label] - box).abs().max() < 6


def test_an_image_without_proposals_has_no_detections() -> None:
    with torch.no_grad():
        detections = made().eval()(images(), proposals=[torch.zeros(0, 4), targets()[0]["proposals"]])
    assert detections[0]["boxes"].shape == (0, 4)
    assert len(detections[1]["boxes"])


@pytest.mark.parametrize(
    ("loss", "weights"), [({}, (1, 1)), ({"box_weight": 2.5}, (1, 2.5)), ({"convex": 0.25}, (0.75, 0.25))]
)
def test_losses_are_weighted(loss: dict[str, float], weights: tuple[float, float]) -> None:
    settings = Settings(tuple("abc"), (), (1,) * 3, 3, SIDE, (0.5,) * 3, (0.25,) * 3)
    batch = (images() * 255).to(torch.uint8), targets()
    losses = []
    for options in ({}, loss):
        learner = fast_rcnn.learner(made(), settings, **options)
        torch.manual_seed(1)
        losses.append(learner(*batch))
    plain, weighted = losses
    for name, weight in zip(("class", "box"), weights, strict=True):
        torch.testing.assert_close(weighted[name], weight * plain[name])


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
