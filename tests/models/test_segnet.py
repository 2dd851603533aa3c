"""SegNet's upsampling modes against hand-worked cases and torch's own unpooling."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn import functional as F

from pipeline import checkpoint
from pipeline.errors import UserError
from pipeline.models import segnet, vgg
from pipeline.models.parts.spec import Spec

SPEC = Spec("segmentation", 5, 3, 32)
SMALL: dict[str, Any] = {"width": 4, "groups": [1, 2, 1]}


def test_maxima_go_back_to_where_they_were() -> None:
    features = torch.tensor(
        [[[[1.0, 2.0, 0.0, 0.0], [3.0, 4.0, 0.0, 9.0], [5.0, 0.0, 7.0, 7.5], [0.0, 0.0, 6.0, 1.0]]]]
    )
    pooled, indices = F.max_pool2d(features, 2, return_indices=True)
    upsampled = segnet.upsample_features(pooled, indices, "max_unpool")
    assert upsampled[0, 0].tolist() == [[0, 0, 0, 0], [0, 4, 0, 9], [5, 0, 0, 7.5], [0, 0, 0, 0]]


def test_a_bed_of_nails_has_each_value_in_a_corner() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    upsampled = segnet.upsample_features(features, features, "bed_of_nails")
    assert upsampled[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("mode", segnet.MODES)
def test_every_mode_gives_logits_as_large_as_the_image(mode: str) -> None:
    network = segnet.build(SPEC, **SMALL, upsample=mode)
    logits = network(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 5, 32, 32)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_modes_share_their_weights_and_differ_in_outputs() -> None:
    torch.manual_seed(0)
    networks = {mode: segnet.build(SPEC, **SMALL, upsample=mode) for mode in segnet.MODES[:-1]}
    first = networks["max_unpool"].state_dict()
    outputs = []
    for network in networks.values():
        network.load_state_dict(first)
        outputs.append(network.eval()(torch.ones(1, 3, 32, 32).cumsum(2)))
    assert all(not torch.allclose(one, outputs[0]) for one in outputs[1:])


def test_the_decoder_mirrors_the_encoder_and_ends_bare() -> None:
    with torch.device("meta"):
        network: Any = segnet.build(Spec("segmentation", 11, 3, 64))
    convolutions = [[layer for layer in group if isinstance(layer, torch.nn.Conv2d)] for group in network.up]
    assert [len(group) for group in convolutions] == [3, 3, 3, 2, 2]
    assert isinstance(network.up[-1][-1], torch.nn.Conv2d)


def test_the_encoder_is_that_of_torchvisions_vgg_by_name() -> None:
    with torch.device("meta"):
        network, theirs = segnet.build(Spec("segmentation", 11, 3, 64)), torchvision.models.vgg16_bn()
    own, published = ({name: value.shape for name, value in item.state_dict().items()} for item in (network, theirs))
    assert {name: shape for name, shape in own.items() if name.startswith("features.")} == {
        name: shape for name, shape in published.items() if name.startswith("features.")
    }


def test_the_encoder_starts_from_a_classifier(tmp_path: Path) -> None:
    classifier = vgg.build(Spec("classification", 3, 3, 32), config="A", width=4, head_width=8, norm="batch")
    save_file(classifier.state_dict(), tmp_path / "classifier.safetensors")
    network: Any = segnet.build(SPEC, width=4, groups=[1, 1, 2])
    left = checkpoint.start(network, tmp_path / "classifier.safetensors")
    assert all(name.startswith("classifier.") or int(name.split(".")[1]) > 13 for name in left)
    for name, value in network.features.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[f"features.{name}"])
    images = torch.rand(2, 3, 32, 32)
    inner = classifier.eval().get_submodule("features")
    expected = torch.nn.Sequential(*list(inner.children())[:15])(images)
    torch.testing.assert_close(network.eval().features(images), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"upsample": "nearst"}, "nearest"), ({"groups": [2] * 6}, "groups"), ({"groups": [2] * 5, "width": 4}, None)],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str | None) -> None:
    if message is None:
        segnet.build(SPEC, **options)
        with pytest.raises(UserError, match="halve evenly"):
            segnet.build(Spec("segmentation", 5, 3, 40), **options)
        return
    with pytest.raises(UserError, match=message):
        segnet.build(SPEC, **options)
