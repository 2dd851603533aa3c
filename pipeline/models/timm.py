"""timm's convolutional networks by timm's names: classifiers, and backbones of other networks.

Wightman: PyTorch Image Models, https://github.com/huggingface/pytorch-image-models; each network's page there names its
paper. PAPER's example is EfficientNet-Lite0, https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite,
with 4,652,008 parameters.

Promise: names and shapes of weights are timm's, so that its published weights load, all but a head of other classes,
and images are normalised as these weights were trained. Levels and head are determined by running the network, so this
file has no LEVELS. Transformers, whose input has one size, are left out.
"""

import difflib
import functools
from typing import Any

from torch import nn

from pipeline import timm_weights
from pipeline.errors import UserError
from pipeline.models.parts import run_anatomy
from pipeline.models.parts.rcnn import freeze_norm
from pipeline.models.parts.spec import Anatomy, Spec

TASKS = ("classification",)
PAPER = {
    "input": [3, 224, 224],
    "classes": 1000,
    "options": {"name": "tf_efficientnet_lite0"},
    "parameters": 4_652_008,
}
SMALL = {"size": 64, "options": {"name": "mobilenetv3_small_050"}}


def build(spec: Spec, *, name: str = "tf_efficientnet_lite0", frozen_norm: bool = False) -> nn.Module:
    """timm's network `name`: images B×C×S×S → logits B×classes.

    frozen_norm: keep the loaded batch normalisation fixed, for pretrained weights and small batches.
    """
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise UserError(f"options.name: timm has no network {name!r}. Similar names: {', '.join(near) or 'none'}.")
    levels_and_head = _anatomy(name, spec.size)
    network = _network(name, spec.classes, spec.channels)
    network.__dict__["anatomy"] = levels_and_head
    if frozen_norm:
        freeze_norm(network)
    return network


def normalization(*, name: str = "tf_efficientnet_lite0", **_: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in 0..1 with which the network's published weights were trained."""
    return timm_weights.normalization(name)


def _network(name: str, classes: int, channels: int) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
    return network


@functools.cache
def _anatomy(name: str, size: int) -> Anatomy:
    """Levels and head; UserError if the network can't process images of any size, or of this one."""
    try:
        return run_anatomy.determine(lambda: _network(name, classes=2, channels=3), name, size)
    except UserError:
        raise
    except (RuntimeError, AssertionError, TypeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"options.name: {name} can't be run at sides of 320 and 384 px ({reason}). Choose a convolutional network."
        ) from error
