"""Segmenters of segmentation_models_pytorch: any decoder on any encoder, by name, with timm's weights."""

from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as library
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from pipeline import checkpoint
from pipeline.errors import UserError
from pipeline.models import smp
from pipeline.models.parts.spec import Spec, build_network

TU = "tu-mobilenetv3_small_050"


def built(size: int = 64, **options: Any) -> torch.nn.Module:
    return build_network("smp", Spec("segmentation", 4, 3, size), {"encoder": TU, **options})


@pytest.mark.parametrize("decoder", sorted({*library.MODEL_ARCHITECTURES_MAPPING} - {*smp.LEFT_OUT}))
def test_every_decoder_answers_at_the_images_size_and_every_layer_learns(decoder: str) -> None:
    with torch.device("meta"):
        network = built(256, decoder=decoder)
        logits = network(torch.empty(2, 3, 256, 256))
        assert logits.shape == (2, 4, 256, 256)
        logits.sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("encoder", "agrees"), [(TU, True), ("tu-resnet18", True), ("tu-convnext_atto", False)])
def test_encoders_start_from_timms_weights_where_names_agree(encoder: str, agrees: bool, tmp_path: Path) -> None:
    """What the file says of them."""
    state = timm.create_model(encoder.removeprefix("tu-"), num_classes=4).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    network = built(encoder=encoder)
    if agrees:
        unmatched = {name.split(".")[0] for name in checkpoint.start(network, tmp_path / "w.safetensors")}
        assert unmatched <= {"conv_head", "norm_head", "bn2", "classifier", "fc"}
    else:
        with pytest.raises(UserError, match="none of its"):
            checkpoint.start(network, tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_the_librarys_own_encoders_start_from_torchvisions_weights(name: str, tmp_path: Path) -> None:
    save_file(models.get_model(name, num_classes=4).state_dict(), tmp_path / "w.safetensors")
    unmatched = checkpoint.start(built(encoder=name), tmp_path / "w.safetensors")
    assert {entry.split(".")[0] for entry in unmatched} <= {"fc", "classifier"}


@pytest.mark.parametrize(
    ("options", "field", "near"),
    [
        ({"decoder": "unett"}, "options.decoder", "unet"),
        ({"encoder": "tu-resnet81"}, "options.encoder", "tu-resnet18"),
        ({"encoder": "tu-vit_tiny_patch16_224"}, "options.encoder", "doesn't fit unet"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], field: str, near: str) -> None:
    with pytest.raises(UserError) as told:
        built(**options)
    assert str(told.value).startswith(f"{field}: ")
    assert near in str(told.value)


@pytest.mark.parametrize(("decoder", "size"), [("fpn", 72), ("pan", 64)])
def test_a_size_that_a_decoder_can_not_process_is_refused(decoder: str, size: int) -> None:
    with pytest.raises(UserError, match=rf"^size: {size} .*{decoder}"):
        built(size, decoder=decoder)
