"""The number of parameters of a layer, computed from its hyperparameters alone.

No formula reads a weight, so the number is independent of the built network: the referee of the count.
"""

from collections.abc import Callable
from math import prod
from typing import Any

from torch import nn
from torchvision.models.convnext import CNBlock
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG

from pipeline.models.lenet5 import Subsampling
from pipeline.models.parts.fcn import Enlarge


def expected(layer: nn.Module) -> int | None:
    """Trainable parameters of a layer without its submodules; None if it has parameters but no formula."""
    for kind, formula in FORMULAS.items():
        if isinstance(layer, kind):
            return formula(layer)
    return None if list(layer.parameters(recurse=False)) else 0


def _bias(layer: Any) -> int:
    """1 if the layer has a bias, else 0."""
    return int(layer.bias is not None)


def _convolution(layer: Any) -> int:
    return layer.out_channels * (layer.in_channels // layer.groups * prod(layer.kernel_size) + _bias(layer))


def _transposed(layer: Any) -> int:
    window = layer.out_channels // layer.groups * prod(layer.kernel_size)
    return layer.in_channels * window + _bias(layer) * layer.out_channels


def _linear(layer: Any) -> int:
    return layer.out_features * (layer.in_features + _bias(layer))


def _batch_norm(layer: Any) -> int:
    return 2 * layer.num_features * layer.affine


def _group_norm(layer: Any) -> int:
    return 2 * layer.num_channels * layer.affine


def _layer_norm(layer: Any) -> int:
    return prod(layer.normalized_shape) * (1 + _bias(layer)) * layer.elementwise_affine


#: layer type → its formula
FORMULAS: dict[type[nn.Module], Callable[[Any], int]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed,
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.InstanceNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.PReLU: lambda layer: layer.num_parameters,
    nn.Embedding: lambda layer: layer.num_embeddings * layer.embedding_dim,
    # a coefficient and a bias per channel
    Subsampling: lambda layer: 2 * layer.channels,
    # one kernel per channel if it is learnt
    Enlarge: lambda layer: layer.learn * layer.weight.shape[0] * (2 * layer.factor) ** 2,
    # a scale per channel, in the block itself and of one feature map
    CNBlock: lambda block: block.block[0].out_channels,
    SSDFeatureExtractorVGG: lambda _: 512,
}
