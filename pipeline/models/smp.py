"""Segmenters of segmentation_models_pytorch: any of its decoders on any of its encoders, by its names.

Iakubovskii: Segmentation Models PyTorch, https://github.com/qubvel-org/segmentation_models.pytorch; each decoder's page
there names its paper. Encoders `tu-NAME` are timm's networks.

Promise: names and shapes of weights are the library's. An encoder `tu-NAME` starts from timm's weights of NAME where
the names agree: EfficientNets, MobileNets and ResNets do, all but the layers after the last feature map, and ConvNeXts
do not (the job's log lists the names that match nothing). The library's own ResNets and VGGs start from torchvision's.
"""

import difflib
from typing import Any

import torch
from torch import nn

from pipeline import timm_weights
from pipeline.errors import UserError
from pipeline.models.parts.rcnn import freeze_norm
from pipeline.models.parts.spec import Spec

TASKS = ("segmentation",)
SMALL = {"size": 64, "options": {"decoder": "linknet", "encoder": "tu-mobilenetv3_small_050"}}

#: decoders that leave layers of the encoder unused, which would get no gradient
LEFT_OUT = ("pspnet", "dpt")
#: what the names of timm's encoders begin with
TIMM = "tu-"
#: mean and standard deviation of the library's own encoders' published weights: most have ImageNet's
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
DPN = ((124 / 255, 117 / 255, 104 / 255), (1 / (255 * 0.0167),) * 3)
OTHERS = {"inception": HALF, "xception": HALF, "timm-tf_efficientnet_lite": HALF, "dpn": DPN}


def build(
    spec: Spec, *, decoder: str = "unet", encoder: str = "tu-tf_efficientnet_lite0", frozen_norm: bool = False
) -> nn.Module:
    """The network of a decoder on an encoder: images B×C×S×S → logits B×classes×S×S.

    decoder: such as unet, unetplusplus, fpn or deeplabv3plus · encoder: the library's name, or `tu-` and timm's ·
    frozen_norm: keep the loaded batch normalisation fixed, for pretrained weights and small batches.
    """
    import segmentation_models_pytorch as library

    _check("decoder", decoder, [name for name in library.MODEL_ARCHITECTURES_MAPPING if name not in LEFT_OUT])
    _check("encoder", encoder, _encoders())
    with torch.device("meta"):
        probe = _network(spec, decoder, encoder).eval()
        try:
            probe(torch.empty(1, spec.channels, spec.size, spec.size))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"size: {spec.size} is not possible for {decoder} on {encoder} ({reason}). Use a larger "
                "multiple of 32, or another decoder."
            ) from error
    network = _network(spec, decoder, encoder)
    if frozen_norm:
        freeze_norm(network)
    return network


def normalization(
    *, encoder: str = "tu-tf_efficientnet_lite0", **_: Any
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in 0..1 with which the encoder's published weights were trained."""
    if encoder.startswith(TIMM):
        return timm_weights.normalization(encoder.removeprefix(TIMM))
    return next((values for start, values in OTHERS.items() if encoder.startswith(start)), IMAGENET)


def _network(spec: Spec, decoder: str, encoder: str) -> nn.Module:
    import segmentation_models_pytorch as library

    try:
        network: nn.Module = library.create_model(
            decoder, encoder_name=encoder, encoder_weights=None, in_channels=spec.channels, classes=spec.classes
        )
    except (RuntimeError, ValueError, KeyError, AssertionError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"options.encoder: {encoder} doesn't fit {decoder} ({reason}). Choose another.") from error
    return network


def _encoders() -> list[str]:
    import segmentation_models_pytorch as library
    import timm

    return [*library.encoders.encoders, *(f"{TIMM}{name}" for name in timm.list_models())]


def _check(option: str, name: str, choices: list[str]) -> None:
    """UserError with similar names where there is no such decoder or encoder; a timm name may have a tag."""
    if name.split(".")[0] not in choices:
        near = difflib.get_close_matches(name, choices, n=5, cutoff=0.5)
        raise UserError(
            f"options.{option}: segmentation_models_pytorch has no {option} {name!r}. "
            f"Similar names: {', '.join(near) or 'none'}."
        )
